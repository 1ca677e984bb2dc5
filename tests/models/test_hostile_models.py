"""A model folder that was made by somebody else: one clear message each, no traceback and no hang."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch
from tests.graphs import SOFTMAX, Values, graph_of, write_model

from bsbatch.backends.outputs import stack_outputs
from bsbatch.errors import BackendError, ModelError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, MANIFEST, Model

HALF = helper.make_node("Mul", ["halves", "halves"], ["probabilities"])
CAM = helper.make_node("AveragePool", ["image"], ["cam"], kernel_shape=[16, 16], strides=[16, 16])
BOTH: Values = {"probabilities": ["N", 2], "cam": ["N", 1, 32, 32]}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_plain(tmp_path / "archive", 1)
    return tmp_path / "archive"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", graph_of(SOFTMAX))


def edit(model: Path, **changes: object) -> None:
    content = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    (model / MANIFEST).write_text(json.dumps(content | changes), encoding="utf-8")


def refusal(model: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Model.load(model, VERSION)
    return str(caught.value)


def message_of(archive: Path, model: Path, *options: str) -> str:
    """The one line of a run that is refused."""
    out = archive.parent / "out"
    done = bsbatch("run", archive, "--model", model, "--backend", "onnxruntime", "--out", out, "--quiet", *options)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert not list(out.glob("results/*"))
    return line


def test_a_small_model_scores(archive: Path, model: Path, tmp_path: Path) -> None:
    (model / GRAPH).rename(tmp_path / "blob")  # a link to a file is a file
    (model / GRAPH).symlink_to(tmp_path / "blob")
    done = bsbatch("run", archive, "--model", model, "--backend", "onnxruntime", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr


def test_probabilities_that_do_not_add_up_to_one_are_refused(archive: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", graph_of([*SOFTMAX[:2], HALF]))
    assert "add up to 0." in message_of(archive, model)


@pytest.mark.parametrize("backend", ["onnxruntime", "mnn"])
def test_a_heat_map_of_another_rank_is_refused(archive: Path, tmp_path: Path, backend: str) -> None:
    model = write_model(tmp_path / "model", graph_of([*SOFTMAX, CAM], outputs=BOTH), cam_name="cam")
    assert "1, 32, 32)" in message_of(archive, model, "--cam", "all", "--backend", backend)


@pytest.mark.parametrize("names", [{"input_name": "x"}, {"output_name": "x"}, {"cam_name": "x"}])
def test_names_that_the_graph_lacks_are_refused(archive: Path, tmp_path: Path, names: dict[str, str]) -> None:
    model = write_model(tmp_path / "model", graph_of(SOFTMAX), **names)
    assert "'x', which the manifest names" in message_of(archive, model)


def test_a_graph_with_a_cycle_is_refused(tmp_path: Path) -> None:
    circle = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["a"])]
    assert "cycle" in refusal(write_model(tmp_path, graph_of([*SOFTMAX, *circle])))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"files": ' * 50_000, '{"a\\u0000": 1}', "\0" * 100, "nul", "9" * 5000],
)
def test_deep_or_strange_json_is_no_manifest(model: Path, text: str) -> None:
    (model / MANIFEST).write_text(text, encoding="utf-8")
    assert "is not a manifest" in refusal(model)


@pytest.mark.parametrize(
    "change",
    [
        {"input_name": 5},
        {"output_name": None},
        {"cam_name": ["cam"]},
        {"name": {}},
        {"training": []},
        {"tools": "x"},
        {"preprocessing_version": "1"},
        {"threshold": "0.5"},
        {"threshold": None},
        {"labels": None},
        {"derived": {"a": {}}},
        {"derived": 1},
    ],
    ids=str,
)
def test_values_of_other_types_are_no_manifest(model: Path, change: dict[str, object]) -> None:
    edit(model, **change)
    assert "is not a manifest" in refusal(model)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b", "a/", "a\0b"])
def test_a_manifest_that_lists_names_outside_its_folder_is_refused(model: Path, name: str) -> None:
    edit(model, files={GRAPH: "0", name: "0"})
    assert "no name of a file in its folder" in refusal(model)
    edit(model, files={GRAPH: "0"}, derived={name: dict.fromkeys(["sha256", "source", "maker"], "")})
    assert "no name of a file in its folder" in refusal(model)


@pytest.mark.parametrize("name", [GRAPH, MANIFEST, "notes"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_pipes_devices_and_folders_are_no_files_of_a_model(model: Path, name: str, kind: str) -> None:
    content = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    edit(model, files={"notes": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", **content["files"]})
    (model / "notes").touch()
    (model / name).unlink()
    if kind == "pipe":
        os.mkfifo(model / name)
    elif kind == "device":
        (model / name).symlink_to("/dev/zero")
    else:
        (model / name).mkdir()
    assert f"{name} cannot be read: not a plain file" in refusal(model)


def test_outputs_of_other_shapes_are_no_inference() -> None:
    assert stack_outputs([], ["probabilities", "distances"]).probabilities.shape == (0, 2)
    with pytest.raises(BackendError, match=r"\(3,\)"):
        stack_outputs([[np.zeros(3, np.float32)]], ["probabilities"])
    with pytest.raises(BackendError, match=r"\(16, 64\)"):
        stack_outputs([[np.zeros(2, np.float32), np.zeros((16, 64), np.float32)]], ["probabilities", "cams"])
