"""Measure `bsbatch report` on a large run: time, size of the page, and time to open it in Chromium.

``python -m benchmarks.report_page FOLDER`` first makes a synthetic run in FOLDER: 10,000 examinations, 500 with an
overlay of two views of 1024 x 256. Noise compresses worse than scans, so reports of patients' scans are smaller.
"""

import shutil
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from bsbatch.html_report.page import write_page
from bsbatch.html_report.settings import ReportConfig
from bsbatch.records import Examination, Explanation, HeatMap, MapLocation, Prediction, Quality, UnitOutcome
from bsbatch.sinks.overlays import Look, OverlaySink
from bsbatch.store.folder import write_run_file
from bsbatch.store.parts import write_part
from bsbatch.store.tables import OBJECTS, RESULTS, Row, to_table
from bsbatch.view_pixels import ViewPixels

EXAMINATIONS, OVERLAYS = 10_000, 500
ROWS, COLUMNS = 1024, 256
_THRESHOLD = 0.5
_PATIENCE = 120


def make(out: Path) -> None:
    """Write the output folder of a run; every twentieth examination failed."""
    random = np.random.default_rng(1)
    rows = [_row(number, float(score)) for number, score in enumerate(random.random(EXAMINATIONS))]
    objects = [_object(row) for row in rows]
    ranked = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: -row["p_metastasis"])
    drawn = [draw_examination(row, random) for row in ranked[:OVERLAYS]]
    for row, item in zip(ranked, drawn, strict=False):
        row["cam_map"] = _map_of(item)
    for name, table in ((RESULTS, rows), (OBJECTS, objects)):
        (out / name).mkdir(parents=True)
        write_part(out / name, 0, to_table(name, table, "hash", has_maps=name == RESULTS))
    write_run_file(out, {"status": "complete", "config": {"threshold": _THRESHOLD, "cam": "positive"}, "seconds": 1.0})
    sink = OverlaySink(out, Look(_THRESHOLD), 2)
    sink.commit(UnitOutcome(tuple(drawn), ()))


def _map_of(item: Prediction) -> list[float]:
    return [] if item.explanation is None else item.explanation.heat.cells.ravel().tolist()


def _row(number: int, score: float) -> Row:
    row: Row = {"exam_id": f"{number:032x}", "threshold": _THRESHOLD, "config_hash": "hash", "manufacturer": "Nobody"}
    if number % 20 == 0:
        return row | {"status": "failed", "stage": "pairing", "reason": "single_view_only"}
    flags = ["hotspot_dominates"] if number % 7 == 0 else []
    counts = {"qc_counts_anterior": 1.5e6, "qc_counts_posterior": 1.4e6}
    return (
        row | counts | {"status": "ok", "p_metastasis": score, "predicted": int(score >= _THRESHOLD), "qc_flags": flags}
    )


def _object(row: Row) -> Row:
    status = "used" if row["status"] == "ok" else "failed"
    fate = {"status": status, "reason": row.get("reason"), "exam_id": row["exam_id"]}
    return fate | {"source": f"{row['exam_id']}.dcm", "size": 1, "version": "1"}


def draw_examination(row: Row, random: np.random.Generator) -> Prediction:
    """Draw an examination with a heat map: two views of 1024 x 256, noise in the shape of a body."""
    body = 20 * np.exp(-6 * np.linspace(-1, 1, COLUMNS) ** 2)
    views = tuple(ViewPixels(random.poisson(body, (ROWS, COLUMNS)).astype(np.uint16)) for _ in "AP")
    cells = np.kron(random.random((8, 8)), np.ones((4, 4))).astype(np.float32) ** 4
    explanation = Explanation(HeatMap(cells, 1.0), MapLocation(None, None, 1, 0, 0, 0.5, 0.5, ()), (views[0], views[1]))
    exam = Examination(row["exam_id"], (), None, None)
    quality = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "0" * 64)
    return Prediction(exam, quality, row["p_metastasis"], explanation)


def time_opening(page: Path) -> tuple[float, float]:
    """Return the seconds until the table is ready and until the figures are drawn, by the page's own clock."""
    webdriver, chrome, ui = (
        import_module(f"selenium.webdriver{name}") for name in ("", ".chrome.service", ".support.ui")
    )
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=chrome.Service(shutil.which("chromedriver")))
    try:
        driver.get(page.resolve().as_uri())
        wait = ui.WebDriverWait(driver, _PATIENCE)
        times = "return ['ready', 'drawn'].map((name) => performance.getEntriesByName(name)[0]?.startTime)"
        found = wait.until(lambda browser: all(browser.execute_script(times)) and browser.execute_script(times))
        return found[0] / 1000, found[1] / 1000
    finally:
        driver.quit()


def main() -> None:
    """Make the run, write its page, open it, and print the times."""
    out = Path(sys.argv[1])
    if not out.exists():
        make(out)
    started, busy = time.perf_counter(), time.process_time()
    page = write_page(ReportConfig(out))
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    print(f"written in {wall:.1f} s ({cpu:.1f} s of CPU), {page.stat().st_size / 1e6:.1f} MB")
    for _ in range(3):
        table, figures = time_opening(page)
        print(f"opened: table after {table:.2f} s, figures after {figures:.2f} s")


if __name__ == "__main__":
    main()
