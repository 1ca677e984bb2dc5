from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from bsbatch.config import BackendName, CamEngine, Effort, RunConfig, Selection
from bsbatch.errors import UsageError

SOUND = {"archive": Path("archive"), "out": Path("out"), "model": Path("model")}


def test_the_defaults_assume_no_order_and_choose_the_backend() -> None:
    config = RunConfig(**SOUND)  # type: ignore[arg-type]

    assert config.backend is BackendName.AUTO
    assert not config.selection.assume_frame_order
    assert config.selection.max_pixels == 1 << 24
    assert (config.effort.threads, config.effort.batch_size, config.effort.unit_size) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"threshold": -0.01}, "--threshold"),
        ({"threshold": 1.01}, "--threshold"),
        ({"threshold": float("nan")}, "--threshold"),
        ({"max_error_rate": -0.1}, "--max-error-rate"),
        ({"max_error_rate": 1.1}, "--max-error-rate"),
        ({"limit": 0}, "--limit"),
        ({"cam_engine": CamEngine.KERAS}, "--cam-engine keras"),
        ({"out": None}, "--out"),
        ({"model": None}, "--model"),
        ({"model": None, "backend": BackendName.ONNXRUNTIME}, "--model"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_option(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError, match=option):
        RunConfig(**{**SOUND, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"max_error_rate": 0.0},
        {"max_error_rate": 1.0},
        {"limit": 1},
        {"model": None, "backend": BackendName.FAKE},
        {"out": None, "model": None, "dry_run": True},
    ],
    ids=str,
)
def test_the_ends_of_each_range_are_allowed(changes: dict[str, Any]) -> None:
    RunConfig(**{**SOUND, **changes})


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", ["threads", "batch_size", "unit_size"])
def test_an_effort_below_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")):
        Effort(**{name: value})


def test_fewer_than_one_pixel_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-pixels"):
        Selection(max_pixels=0)


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Selection().max_pixels = 1  # type: ignore[misc]
