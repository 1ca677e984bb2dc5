"""Heat maps of a run: which examinations have one, equal to the model's; without them, rows are unchanged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.archives import PATIENT_NAME, uid, write_plain
from tests.end_to_end.tables import bsbatch, results

from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.models.directory import GRAPH, read_manifest, sha256_of, write_manifest
from bsbatch.models.onnx.pruning import remove_output
from bsbatch.store.tables import CAM_COLUMNS, RESULT_COLUMNS
from bsbatch_build.export.export import ExportSettings, export
from bsbatch_build.network.network import NetworkSettings

ON_CPU = [name for name in ("winograd", "mnn", "onnxruntime") if REQUIREMENTS[name].missing is None]
CAM_NAMES = {column.name for column in CAM_COLUMNS}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_plain(tmp_path / "archive", 6)
    return tmp_path / "archive"


def run(archive: Path, out: Path, *options: str | Path) -> Path:
    """Run into a folder with the same patient key as every other one, so that parts can be compared."""
    out.mkdir(exist_ok=True)
    (out / "patient.key").write_bytes(b"one key for all folders")
    done = bsbatch("run", archive, "--out", out, "--threads", "1", *options)
    assert done.returncode == 0, done.stderr
    return out


def without_maps(model: Path, folder: Path) -> Path:
    """The model without heat maps, as older versions exported it."""
    folder.mkdir()
    (folder / GRAPH).write_bytes(remove_output((model / GRAPH).read_bytes(), "cam"))
    manifest = replace(read_manifest(model), files={GRAPH: sha256_of(folder / GRAPH)}, cam_name=None, derived={})
    write_manifest(folder, manifest)
    return folder


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("results/*")}


def test_without_maps_the_results_are_those_of_a_model_without_maps(archive: Path, twin: Path, tmp_path: Path) -> None:
    """To the bit, except for the two columns with hashes of the model's file."""
    blind = without_maps(twin, tmp_path / "blind")
    assert [output.name for output in onnx.load(blind / GRAPH).graph.output] == ["probabilities", "distance"]

    for backend in ON_CPU:
        found = results(run(archive, tmp_path / backend, "--model", twin, "--backend", backend))
        expected = results(run(archive, tmp_path / f"blind-{backend}", "--model", blind, "--backend", backend))
        assert [without_hashes(row) for row in found] == [without_hashes(row) for row in expected]
        assert list(found[0]) == [column.name for column in RESULT_COLUMNS if column.name != "patient_key"]


def median(archive: Path, out: Path) -> str:
    """A threshold above which half of the scores are."""
    scores = sorted(row["p_metastasis"] for row in results(run(archive, out, "--backend", "fake")))
    return str(scores[len(scores) // 2])


def without_hashes(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"model_id": None, "config_hash": None}


def test_the_default_and_cam_none_write_the_same_bytes(archive: Path, twin: Path, tmp_path: Path) -> None:
    options = "--model", twin, "--backend", "onnxruntime"
    assert parts(run(archive, tmp_path / "a", *options)) == parts(
        run(archive, tmp_path / "b", *options, "--cam", "none")
    )


@pytest.mark.parametrize("backend", [*ON_CPU, "fake"])
def test_every_examination_has_a_map_and_the_same_score_as_without(
    backend: str, archive: Path, twin: Path, tmp_path: Path
) -> None:
    options = "--model", twin, "--backend", backend
    plain = results(run(archive, tmp_path / "plain", *options))
    mapped = results(run(archive, tmp_path / "mapped", *options, "--cam", "all"))

    for row, expected in zip(mapped, plain, strict=True):
        assert np.shape(row["cam_map"]) == (1024,)
        assert max(row["cam_map"]) == 1.0
        assert min(row["cam_map"]) >= 0.0
        assert row["cam_strength"] > 0
        assert max(row["cam_peak_value_anterior"] or 0, row["cam_peak_value_posterior"] or 0) == 1.0
        assert 0.0 <= row["cam_share_body"] <= 1.0
        assert row["cam_warning"] is not None
        left = {name: value for name, value in row.items() if name not in CAM_NAMES}
        assert left | {"config_hash": None} == expected | {"config_hash": None}


def test_with_cam_positive_only_positive_examinations_have_a_map(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "positive", "--threshold", median(archive, tmp_path / "all")

    rows = results(run(archive, tmp_path / "out", *options))

    assert {row["predicted"] for row in rows} == {0, 1}
    assert all((row["cam_map"] is not None) == bool(row["predicted"]) for row in rows)


def overlays(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("overlays/*")}


def test_each_map_has_an_overlay_and_the_run_a_contact_sheet(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "positive", "--threshold", median(archive, tmp_path / "all")
    out = run(archive, tmp_path / "out", *options)
    positive = {f"{row['exam_id']}.png" for row in results(out) if row["predicted"]}

    assert 0 < len(positive) < 6
    assert set(overlays(out)) == {*positive, "sheet-0001.png"}


def test_the_format_of_overlays_changes_no_row(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "all", "--overlay-format"
    plain = run(archive, tmp_path / "none", *options, "none")
    drawn = run(archive, tmp_path / "webp", *options, "webp")

    assert parts(plain) == parts(drawn)
    assert not overlays(plain)
    assert len(overlays(drawn)) == 7
    assert all(name.endswith(".webp") for name in overlays(drawn))


def test_the_style_of_overlays_changes_no_row(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "all"
    contours = run(archive, tmp_path / "contours", *options)
    translucent = run(archive, tmp_path / "translucent", *options, "--overlay-style", "translucent")

    assert parts(contours) == parts(translucent)
    drawn, others = overlays(contours), overlays(translucent)
    assert drawn.keys() == others.keys()
    assert all(drawn[name] != others[name] for name in drawn)


def test_threads_and_units_do_not_change_a_byte_of_an_overlay(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "all", "--unit-size", "2"
    done = bsbatch("run", archive, "--out", tmp_path / "two", "--threads", "2", *options)
    assert done.returncode == 0, done.stderr
    assert f"Overlays: {tmp_path / 'two'}/overlays" in done.stdout

    assert overlays(tmp_path / "two") == overlays(run(archive, tmp_path / "one", "--backend", "fake", "--cam", "all"))


def test_a_resumed_run_draws_new_overlays_and_fresh_removes_all(archive: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--cam", "all"
    out = run(archive, tmp_path / "out", *options, "--limit", "2")
    assert len(overlays(out)) == 3
    run(archive, out, *options)
    assert len(overlays(out)) == 7
    assert len(list(out.glob("scans/*"))) == 6

    run(archive, out, "--backend", "fake", "--fresh")

    assert not overlays(out)
    assert not list(out.glob("scans/*"))


def test_no_patient_data_reaches_an_overlay_or_its_name(archive: Path, tmp_path: Path) -> None:
    written = overlays(run(archive, tmp_path / "out", "--backend", "fake", "--cam", "all"))

    assert len(written) == 7
    for name, content in written.items():
        for secret in (PATIENT_NAME, *PATIENT_NAME.split("^"), "4711", uid("study", 0), "Test camera"):
            assert secret.encode() not in content
            assert secret not in name


def test_results_with_and_without_maps_are_not_mixed(archive: Path, tmp_path: Path) -> None:
    out = run(archive, tmp_path / "out", "--backend", "fake")

    done = bsbatch("run", archive, "--out", out, "--backend", "fake", "--cam", "all")

    assert done.returncode == 2
    assert "another configuration (--cam was none and is all)" in done.stderr


def test_maps_of_the_keras_model_are_those_of_the_graph(archive: Path, twin: Path, tmp_path: Path) -> None:
    """The same network twice; the float32 maps differ by the order of additions."""
    both = tmp_path / "both"
    export(ExportSettings(both, NetworkSettings(seed=1, width=0.0625), keep_keras=True))
    options = "--model", both, "--backend", "onnxruntime", "--limit", "3", "--cam", "all"
    fused = results(run(archive, tmp_path / "fused", *options))

    taped = results(run(archive, tmp_path / "taped", *options, "--cam-engine", "keras"))

    for row, expected in zip(taped, fused, strict=True):
        assert row["p_metastasis"] == expected["p_metastasis"]
        np.testing.assert_allclose(row["cam_map"], expected["cam_map"], rtol=0, atol=1e-4)
    assert len(overlays(tmp_path / "taped")) == 4
    assert json.loads((tmp_path / "taped" / "run.json").read_text())["config"]["cam_engine"] == "keras"
    mixed = bsbatch("run", archive, "--out", tmp_path / "taped", *options)
    assert mixed.returncode == 2
    assert "another configuration" in mixed.stderr


def test_a_directory_without_a_keras_model_is_refused_before_anything_is_written(
    archive: Path, twin: Path, tmp_path: Path
) -> None:
    options = "--model", twin, "--cam", "all", "--cam-engine", "keras"

    done = bsbatch("run", archive, "--out", tmp_path / "out", *options)

    assert done.returncode == 2
    assert "--keep-keras" in done.stderr
    assert not list((tmp_path / "out").glob("*/*"))


def test_a_model_without_maps_is_refused_before_anything_is_written(archive: Path, twin: Path, tmp_path: Path) -> None:
    blind = without_maps(twin, tmp_path / "blind")

    done = bsbatch("run", archive, "--out", tmp_path / "out", "--model", blind, "--cam", "positive")

    assert done.returncode == 2
    assert "has no heat map" in done.stderr
    assert not list((tmp_path / "out").glob("*/*"))
