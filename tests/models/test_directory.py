import json
from pathlib import Path
from typing import Any

import pytest

from bsbatch.errors import ModelError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, MANIFEST, Manifest, Model, resolve_folder, sha256_of, write_manifest

ADVICE = "export"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model directory whose graph is no ONNX graph."""
    (tmp_path / GRAPH).write_bytes(b"graph")
    write_manifest(tmp_path, manifest(sha256_of(tmp_path / GRAPH)))
    return tmp_path


def manifest(sha256: str = "0" * 64, **changes: Any) -> Manifest:
    fields = {"files": {GRAPH: sha256}, "preprocessing_version": VERSION, "name": "tiny", **changes}
    return Manifest(**fields)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path, version: int = VERSION) -> str:
    with pytest.raises(ModelError) as caught:
        Model.load(folder, version)
    return str(caught.value)


def test_a_manifest_survives_the_round_trip(tmp_path: Path) -> None:
    (tmp_path / GRAPH).write_bytes(b"graph")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    files = {name: sha256_of(tmp_path / name) for name in (GRAPH, "notes.txt")}
    written = manifest(files=files, threshold=0.25, tools={"onnx": "1"}, training={"seed": 1, "loss": [0.5, None]})

    write_manifest(tmp_path, written)
    model = Model.load(tmp_path, VERSION)

    assert model.manifest == written
    assert (model.graph, model.model_id) == (tmp_path / GRAPH, files[GRAPH][:16])


def test_a_model_that_was_tampered_with_is_refused(folder: Path) -> None:
    (folder / GRAPH).write_bytes(b"grapf")

    message = refusal(folder)

    assert "SHA-256 differs" in message
    assert "copy or export the model again" in message


def test_every_listed_file_is_checked(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"other")
    edit(folder, files={GRAPH: sha256_of(folder / GRAPH), "weights.bin": "0" * 64})

    assert "weights.bin" in refusal(folder)


def test_a_model_without_its_graph_is_refused(folder: Path) -> None:
    (folder / GRAPH).unlink()

    message = refusal(folder)

    assert f"has no {GRAPH}" in message
    assert ADVICE in message


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_without_a_manifest_is_no_model(is_there: bool, tmp_path: Path) -> None:
    message = refusal(tmp_path if is_there else tmp_path / "absent")

    assert ("has no manifest.json" if is_there else "there is no model") in message
    assert "bsbatch-build export" in message


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")

    assert "is a file, not a model directory" in refusal(tmp_path / "model.onnx")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_manifest_of_another_version_is_refused(version: Any, folder: Path) -> None:
    edit(folder, version=version)

    message = refusal(folder)

    assert "version" in message
    assert ADVICE in message


def test_a_model_of_another_preprocessing_is_refused(folder: Path) -> None:
    message = refusal(folder, VERSION + 1)

    assert "preprocessing version" in message
    assert "export the model again" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"labels": 3}',
        '{"labels": ["a", "b"], "unknown": 1}',
        '{"labels": ["a", "b"], "files": ["model.onnx"], "preprocessing_version": 1, "name": "x"}',
        '{"labels": ["a", "b"], "files": "model.onnx", "preprocessing_version": 1, "name": "x"}',
        '{"labels": ["a", "b"], "files": {"model.onnx": 1}, "preprocessing_version": 1, "name": "x"}',
        '{"labels": ["a", "b"], "files": null, "preprocessing_version": 1, "name": "x"}',
    ],
)
def test_a_file_that_is_no_manifest_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text)

    assert "again" in refusal(folder)


def test_a_manifest_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe{\x00}\x00")

    assert ADVICE in refusal(folder)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ModelError, match="threshold"):
        manifest(threshold=threshold)


def test_a_manifest_that_lists_no_graph_is_refused() -> None:
    with pytest.raises(ModelError, match="export the model again"):
        manifest(files={})


def test_a_folder_named_demo_without_a_model_does_not_hide_the_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()  # as `make demo` does, for its results

    assert resolve_folder(Path("demo")).is_absolute()
    Path("demo", "manifest.json").touch()
    assert resolve_folder(Path("demo")) == Path("demo")


def test_what_is_no_model_directory_is_refused_with_the_model_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "model").mkdir()

    with pytest.raises(ModelError, match=r"there is no model .*dem0: .*--model demo"):
        Model.load(tmp_path / "dem0", VERSION)
    with pytest.raises(ModelError, match=r"model has no manifest.json: .*--model demo"):
        Model.load(tmp_path / "model", VERSION)
    with pytest.raises(ModelError, match=r"README.md is a file, not a model directory: .*--model demo"):
        Model.load(tmp_path / "README.md", VERSION)
