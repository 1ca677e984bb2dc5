"""The bar and the lines of a run's progress."""

import re
from concurrent.futures import Future
from io import StringIO

import pytest
from rich.console import Console

from bsbatch.cli.progress import BarReporter, LineReporter, QuietReporter, reporter_for


def advance(reporter: QuietReporter, workers: int | None, objects: int = 30, ok: int = 20, failed: int = 1) -> None:
    total = Future[int]()
    total.set_result(2 * objects)
    reporter.start(total, 0)
    if workers is not None:
        reporter.show_workers(workers)
    reporter.advance(objects, ok, failed)


def bar_of(workers: int | None, *counts: int) -> str:
    """The bar on a terminal of 80 columns."""
    console = Console(file=StringIO(), width=80, force_terminal=True)
    with reporter_for(console, quiet=False) as reporter:
        assert isinstance(reporter, BarReporter)
        advance(reporter, workers, *counts)
        screen = Console(file=StringIO(), width=80)
        screen.print(reporter._progress.get_renderable())
    assert isinstance(screen.file, StringIO)
    return screen.file.getvalue().rstrip("\n")


def line_of(workers: int | None, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("bsbatch.cli.progress._LINE_SECONDS", 0.0)
    console = Console(file=StringIO(), width=80)
    advance(LineReporter(console), workers)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("workers", "words"), [(0, "0 workers"), (1, "1 worker"), (4, "4 workers")])
def test_a_cluster_shows_its_workers_behind_the_rate(workers: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(rf"20 scored 1 failed [0-9.]+/s {words} ", bar_of(workers))
    assert re.search(rf"30 of 60 files, 20 scored, 1 failed, [0-9.]+ scans/s, {words}, ", line_of(workers, monkeypatch))


def test_without_a_cluster_there_are_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "worker" not in bar_of(None)
    assert "worker" not in line_of(None, monkeypatch)


@pytest.mark.parametrize("counts", [(30, 20, 1), (640_000, 62_000, 120), (4_000_000, 1_000_000, 1_234)])
def test_the_bar_of_a_large_cluster_fits_80_columns_with_its_rate(counts: tuple[int, int, int]) -> None:
    bar = bar_of(64, *counts)
    assert len(bar.splitlines()) == 1
    assert len(bar) <= 80
    assert re.search(rf"{counts[1]} scored {counts[2]} failed [0-9.]+/s 64 workers ", bar)
