"""An engine is found for the library and GPU that it was compiled for, and refused by name for any other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bsbatch.cuda.engines import PRECISION, EngineKey, EngineTarget, find_engine
from bsbatch.errors import ModelError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import GRAPH, MANIFEST, Manifest, Model, sha256_of, write_manifest

KEY = EngineKey("tensorrt_rtx", "1.7.1", "sm_89", PRECISION, "0123456789abcdef", (1, 32, 64), ("probabilities",))
TARGET = EngineTarget("tensorrt_rtx", "1.7.1", "sm_89", ("probabilities",))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose graph is never loaded, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_model(tmp_path / "model", b"graph")


def make_model(folder: Path, graph: bytes) -> Model:
    folder.mkdir(exist_ok=True)
    (folder / GRAPH).write_bytes(graph)
    write_manifest(folder, Manifest({GRAPH: sha256_of(folder / GRAPH)}, VERSION, "tiny"))
    return Model.load(folder, VERSION)


def write_plan(_: Path, aside: Path) -> None:
    aside.write_bytes(b"plan")


def compile_engine(model: Model, key: EngineKey = KEY) -> Path:
    return derive_file(model, Derivation(key.name, str(key), write_plan))


def test_a_key_is_parsed_from_its_text() -> None:
    assert EngineKey.parse(str(KEY)) == KEY


def test_an_engine_is_found_with_its_batches(model: Model) -> None:
    path = compile_engine(model)
    engine = find_engine(model, TARGET)
    assert (engine.path, engine.key) == (path, KEY)
    assert path == model.folder / "model.tensorrt_rtx.sm_89.engine"


def test_engines_of_several_architectures_are_kept_side_by_side(model: Model) -> None:
    compile_engine(model)
    compile_engine(model, replace(KEY, target="sm_120"))
    assert find_engine(model, replace(TARGET, gpu="sm_120")).key.target == "sm_120"
    assert find_engine(model, TARGET).key.target == "sm_89"


def test_an_engine_with_maps_is_kept_beside_the_one_without(model: Model) -> None:
    with_maps = replace(KEY, outputs=("probabilities", "cam"))
    plain, mapped = compile_engine(model), compile_engine(model, with_maps)
    assert mapped == model.folder / "model.tensorrt_rtx.sm_89.cam.engine"
    assert find_engine(model, TARGET).path == plain
    engine = find_engine(model, replace(TARGET, outputs=("probabilities", "cam")))
    assert (engine.path, engine.key) == (mapped, with_maps)


def test_an_engine_of_other_outputs_under_the_name_of_another_is_refused(model: Model) -> None:
    derive_file(model, Derivation(KEY.name, str(replace(KEY, outputs=("probabilities", "cam"))), write_plan))
    with pytest.raises(ModelError, match=r"sm_89\.engine is foreign, it gives probabilities and cam"):
        find_engine(model, TARGET)


def test_an_engine_of_a_read_only_model_is_found_in_the_cache(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = compile_engine(model)
    manifest = (model.folder / MANIFEST).read_text(encoding="utf-8")
    beside.unlink()
    write_manifest(model.folder, model.manifest)
    put = Path.write_bytes

    def read_only(path: Path, data: bytes) -> int:
        if path.is_relative_to(model.folder):
            raise PermissionError(13, "Permission denied")
        return put(path, data)

    monkeypatch.setattr(Path, "write_bytes", read_only)
    cached = compile_engine(model)
    assert model.folder not in cached.parents
    assert find_engine(model, TARGET).path == cached
    (model.folder / MANIFEST).write_text(manifest, encoding="utf-8")  # names a missing one
    assert find_engine(model, TARGET).path == cached


def test_a_missing_engine_is_named_with_the_command_that_makes_it(model: Model) -> None:
    compile_engine(model)
    words = rf"has no model\.tensorrt_rtx\.sm_90\.engine: bsbatch-build compile {model.folder}"
    with pytest.raises(ModelError, match=words):
        find_engine(model, replace(TARGET, gpu="sm_90"))


def test_a_corrupted_engine_is_refused(model: Model) -> None:
    compile_engine(model).write_bytes(b"plam")
    with pytest.raises(ModelError, match=r"model\.tensorrt_rtx\.sm_89\.engine is corrupted"):
        find_engine(model, TARGET)


def test_an_engine_that_is_gone_is_refused(model: Model) -> None:
    compile_engine(model).unlink()
    with pytest.raises(ModelError, match=r"model\.tensorrt_rtx\.sm_89\.engine cannot be read"):
        find_engine(model, TARGET)


def test_an_engine_of_another_library_version_is_refused(model: Model) -> None:
    compile_engine(model)
    with pytest.raises(ModelError, match=r"is outdated, tensorrt_rtx 1\.7\.1 made it and 1\.8 is installed"):
        find_engine(model, replace(TARGET, version="1.8"))


def test_an_engine_that_may_round_float32_to_tf32_is_refused(model: Model) -> None:
    compile_engine(model, replace(KEY, precision="fp16"))
    with pytest.raises(ModelError, match=r"is outdated, it computes in fp16, not in fp16 without tf32: bsbatch-build"):
        find_engine(model, TARGET)


def test_an_engine_of_another_graph_is_refused(model: Model) -> None:
    compile_engine(model)
    manifest = json.loads((model.folder / MANIFEST).read_text(encoding="utf-8"))
    changed = make_model(model.folder, b"another graph")
    text = json.loads((model.folder / MANIFEST).read_text(encoding="utf-8"))
    text["derived"] = manifest["derived"]
    (model.folder / MANIFEST).write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(ModelError, match=r"is outdated, it was compiled of another model\.onnx"):
        find_engine(changed, TARGET)


def test_a_foreign_engine_under_the_name_of_another_is_refused(model: Model) -> None:
    """As after a copy by hand, of the file and of its entry."""
    foreign = replace(KEY, target="sm_120")
    derive_file(model, Derivation(KEY.name, str(foreign), write_plan))
    with pytest.raises(ModelError, match=r"sm_89\.engine is foreign, made by tensorrt_rtx for sm_120"):
        find_engine(model, TARGET)


@pytest.mark.parametrize("maker", ["MNN 3.6.1", "a | b | c | d | e | f | g"])
def test_a_file_that_no_compiler_made_is_refused(model: Model, maker: str) -> None:
    derive_file(model, Derivation(KEY.name, maker, write_plan))
    with pytest.raises(ModelError, match="is no engine that this bsbatch knows"):
        find_engine(model, TARGET)
