import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bsbatch.errors import ModelError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.derived import Derivation, derive_file, find_intact_file
from bsbatch.models.directory import GRAPH, MANIFEST, Manifest, Model, sha256_of, write_manifest

Make = Callable[[Path, Path], None]
CONTENT = b"made of graph"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose graph is no ONNX graph, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / GRAPH).write_bytes(b"graph")
    write_manifest(folder, Manifest({GRAPH: sha256_of(folder / GRAPH)}, VERSION, "tiny"))
    return Model.load(folder, VERSION)


class Maker:
    """Makes the file and counts how often."""

    def __init__(self, version: str = "1") -> None:
        self.calls = 0
        self.derivation = Derivation("model.out", f"maker {version}", self.make)

    def make(self, graph: Path, aside: Path) -> None:
        self.calls += 1
        aside.write_bytes(b"made of " + graph.read_bytes())


def loaded(model: Model) -> Model:
    return Model.load(model.folder, VERSION)


def test_the_file_is_made_once_beside_the_model_with_its_hash_in_the_manifest(model: Model) -> None:
    maker = Maker()

    path = derive_file(model, maker.derivation)

    assert (path, path.read_bytes()) == (model.folder / "model.out", CONTENT)
    entry = loaded(model).manifest.derived["model.out"]
    assert entry.sha256 == sha256_of(path)
    assert derive_file(model, maker.derivation) == derive_file(loaded(model), maker.derivation) == path
    assert maker.calls == 1
    assert sorted(file.name for file in model.folder.iterdir()) == sorted([GRAPH, MANIFEST, "model.out"])


def test_the_model_stays_the_same_model(model: Model) -> None:
    derive_file(model, Maker().derivation)

    after = loaded(model)

    assert (after.model_id, after.manifest.files) == (model.model_id, model.manifest.files)
    assert replace(after.manifest, derived={}) == model.manifest


def test_two_files_of_one_model_do_not_displace_each_other(model: Model) -> None:
    one, two = Maker(), Maker()
    two.derivation = replace(two.derivation, name="other.out")

    for _ in range(2):
        derive_file(model, one.derivation)
        derive_file(model, two.derivation)

    assert (one.calls, two.calls) == (1, 1)
    assert set(loaded(model).manifest.derived) == {"model.out", "other.out"}


def damage(model: Model) -> None:
    (model.folder / "model.out").write_bytes(b"damaged")


def lose(model: Model) -> None:
    (model.folder / "model.out").unlink()


def forget(model: Model) -> None:
    write_manifest(model.folder, model.manifest)


@pytest.mark.parametrize("deed", [damage, lose, forget])
def test_a_file_that_differs_from_its_manifest_entry_is_made_again(deed: Callable[[Model], None], model: Model) -> None:
    maker = Maker()
    derive_file(model, maker.derivation)
    deed(model)

    assert derive_file(model, maker.derivation).read_bytes() == CONTENT
    assert maker.calls == 2


def test_another_version_of_the_maker_makes_the_file_again(model: Model) -> None:
    derive_file(model, Maker("1").derivation)
    second = Maker("2")

    derive_file(model, second.derivation)

    assert second.calls == 1
    assert loaded(model).manifest.derived["model.out"].maker == "maker 2"


def test_the_file_of_another_graph_is_made_again(model: Model) -> None:
    derive_file(model, Maker().derivation)
    earlier = loaded(model).manifest.derived
    (model.folder / GRAPH).write_bytes(b"other")
    write_manifest(
        model.folder, replace(model.manifest, files={GRAPH: sha256_of(model.folder / GRAPH)}, derived=earlier)
    )

    assert derive_file(loaded(model), Maker().derivation).read_bytes() == b"made of other"


def test_a_failed_derivation_leaves_everything_as_it_was(model: Model) -> None:
    def fail(graph: Path, aside: Path) -> None:
        aside.write_bytes(b"half")
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        derive_file(model, Derivation("model.out", "maker 1", fail))

    assert loaded(model).manifest == model.manifest
    assert sorted(path.name for path in model.folder.iterdir()) == sorted([GRAPH, MANIFEST])


def test_several_threads_at_once_make_the_file_once(model: Model) -> None:
    maker = Maker()

    def slowly(graph: Path, aside: Path) -> None:
        time.sleep(0.5)
        maker.make(graph, aside)

    paths: list[Path] = []
    derivation = replace(maker.derivation, make=slowly)
    threads = [threading.Thread(target=lambda: paths.append(derive_file(model, derivation))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert maker.calls == 1
    assert set(paths) == {model.folder / "model.out"}
    assert loaded(model).manifest.derived["model.out"].sha256 == sha256_of(paths[0])


SCRIPT = """
import sys
from pathlib import Path
from bsbatch.models.derived import Derivation, derive_file, find_intact_file
from bsbatch.errors import ModelError
from bsbatch.models.directory import Model
from bsbatch.imaging.preprocess import VERSION

def make(graph, aside):
    print("made", file=sys.stderr)
    aside.write_bytes(b"made of " + graph.read_bytes())

try:
    print(derive_file(Model.load(Path(sys.argv[1]), VERSION), Derivation("model.out", "maker 1", make)))
except ModelError as error:
    print(error)
"""


OBEY = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: root must obey permissions
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Start Python so that file permissions apply even if root runs the tests."""


def run_script(model: Model) -> tuple[str, int]:
    """Return the output of the script and the number of times that it made the file."""
    command = [sys.executable, "-c", OBEY, "-c", SCRIPT, str(model.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.count("made")


def test_the_file_of_a_model_in_a_read_only_folder_is_in_the_cache(model: Model, tmp_path: Path) -> None:
    before = (model.folder / MANIFEST).read_bytes()
    model.folder.chmod(0o555)

    first, second = run_script(model), run_script(model)

    assert (first, second) == ((first[0], 1), (first[0], 0))
    path = Path(first[0])
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(tmp_path / "cache/bsbatch/models")
    assert model.manifest.files[GRAPH] in path.parent.name
    assert (model.folder / MANIFEST).read_bytes() == before


def test_the_error_names_both_folders_if_neither_can_be_written_to(model: Model, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    model.folder.chmod(0o555)

    message, made = run_script(model)

    assert made == 0
    for words in (str(model.folder), str(tmp_path / "cache"), "Permission denied", "XDG_CACHE_HOME"):
        assert words in message


def test_a_manifest_with_a_damaged_entry_is_refused(model: Model) -> None:
    fields = json.loads((model.folder / MANIFEST).read_text())
    (model.folder / MANIFEST).write_text(json.dumps({**fields, "derived": {"model.out": {"sha256": "0"}}}))

    with pytest.raises(ModelError, match="export the model again"):
        loaded(model)


def test_a_file_is_intact_unless_it_is_changed_or_missing_or_of_another_graph(model: Model) -> None:
    assert find_intact_file(model, "model.out") is None
    path = derive_file(model, Maker().derivation)
    assert find_intact_file(model, "model.out") == path
    other = Model(model.folder, replace(model.manifest, files={GRAPH: "0" * 64}))
    assert find_intact_file(other, "model.out") is None
    path.write_bytes(b"changed")
    assert find_intact_file(model, "model.out") is None
    path.unlink()
    assert find_intact_file(model, "model.out") is None
