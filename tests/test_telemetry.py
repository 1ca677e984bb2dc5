import time

import pytest

from bsbatch.host.threads import ordered_map
from bsbatch.telemetry import Telemetry


def test_seconds_and_items_add_up_by_stage() -> None:
    telemetry = Telemetry()

    for items in (2, 3):
        with telemetry.measure("infer", items):
            time.sleep(0.02)
    with telemetry.measure("header"):
        pass

    report = telemetry.report()
    assert list(report) == ["header", "infer"]
    assert report["infer"]["items"] == 5
    assert report["infer"]["seconds"] >= 0.04
    assert report["infer"]["items_per_second"] == pytest.approx(5 / report["infer"]["seconds"], rel=0.05)


def test_a_failed_block_counts_too() -> None:
    telemetry = Telemetry()

    with pytest.raises(ValueError, match="bad"), telemetry.measure("pixels"):
        raise ValueError("bad")

    assert telemetry.report()["pixels"]["items"] == 1


def test_no_item_is_lost_between_threads() -> None:
    telemetry = Telemetry()

    def work(_: int) -> None:
        with telemetry.measure("pixels"):
            pass

    list(ordered_map(work, range(500), 4))

    assert telemetry.report()["pixels"]["items"] == 500


def test_a_run_without_work_reports_nothing() -> None:
    assert Telemetry().report() == {}
