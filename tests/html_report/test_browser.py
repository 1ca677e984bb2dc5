"""The page in headless Chromium: sorting, filters, gallery, colours, and an empty console."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tests.evaluation.made import Exam, write_results
from tests.html_report.reading import data_of

from bsbatch.html_report.page import write_page
from bsbatch.html_report.settings import ReportConfig

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="no Chromium here: apt-get install chromium chromium-driver"
)
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000")
_PATIENCE = 60


@pytest.fixture(scope="module")
def page(screened: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "page.html"
    return write_page(ReportConfig(screened, labels=labels, out=out))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium: Any, page: Path) -> Any:
    """The page, just opened, its charts drawn."""
    chromium.get(page.as_uri())
    drawn = "return document.documentElement.dataset.charts === 'drawn'"
    WebDriverWait(chromium, _PATIENCE).until(lambda driver: driver.execute_script(drawn))
    return chromium


def column(browser: Any, name: str) -> list[str]:
    heads = [head.text.split(" ▲")[0] for head in browser.find_elements(By.CSS_SELECTOR, "#heads th")]
    place = heads.index(name) + 1
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, f"#rows td:nth-child({place})")]


def head(browser: Any, name: str) -> Any:
    return browser.find_element(By.CSS_SELECTOR, f'#heads th[data-name="{name}"]')


def click(browser: Any, element: Any) -> None:
    """Scrolled to first, at once: the bar at the top would lie over it."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    element.click()


def field(browser: Any, name: str) -> Any:
    return browser.find_element(By.NAME, name)


def test_it_opens_with_an_empty_console_and_asks_for_nothing(opened: Any) -> None:
    assert opened.get_log("browser") == []
    assert (
        opened.execute_script(
            "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        )
        == 0
    )
    charts = opened.find_elements(By.CSS_SELECTOR, ".chart")
    assert len(charts) >= 4
    assert all(chart.find_elements(By.TAG_NAME, "svg") for chart in charts)


def test_headings_sort_by_mouse_and_by_keyboard(opened: Any) -> None:
    scores = [float(text.strip("<>")) for text in column(opened, "score") if text]
    assert scores == sorted(scores, reverse=True)
    assert head(opened, "score").get_attribute("aria-sort") == "descending"

    click(opened, head(opened, "score").find_element(By.TAG_NAME, "button"))
    scores = [float(text.strip("<>")) for text in column(opened, "score") if text]
    assert scores == sorted(scores)
    assert head(opened, "score").get_attribute("aria-sort") == "ascending"

    head(opened, "examination").find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    names = column(opened, "examination")
    assert names == sorted(names)
    assert head(opened, "score").get_attribute("aria-sort") is None


def test_filters_leave_the_matching_rows(opened: Any, page: Path) -> None:
    rows = data_of(page)["examinations"]
    failed = [row for row in rows if row[4]]
    assert failed
    Select(field(opened, "outcome")).select_by_value("failed")
    assert f"{len(failed)} of {len(rows)}" in opened.find_element(By.ID, "shown").text
    assert column(opened, "score") == [""] * len(failed)

    click(opened, opened.find_element(By.CSS_SELECTOR, "#filters button[type=reset]"))
    WebDriverWait(opened, _PATIENCE).until(lambda driver: " of " not in driver.find_element(By.ID, "shown").text)

    field(opened, "text").send_keys(rows[3][0][:12])
    assert column(opened, "examination") == [rows[3][0][:12]]
    field(opened, "text").clear()
    field(opened, "low").send_keys("0.5")
    wanted = sum(row[1] is not None and row[1] >= 0.5 for row in rows)
    assert f"{wanted} of {len(rows)}" in opened.find_element(By.ID, "shown").text


def test_a_warning_filters_the_table(opened: Any, page: Path) -> None:
    button = opened.find_element(By.CSS_SELECTOR, "[data-filter]")
    name = button.get_attribute("data-filter")
    click(opened, button)
    wanted = sum(name in row[7] + row[8] for row in data_of(page)["examinations"])
    assert f"{wanted} " in opened.find_element(By.ID, "shown").text
    assert all(name in text for text in column(opened, "warnings"))


def test_an_image_is_shown_zoomed_and_windowed(opened: Any) -> None:
    opened.find_element(By.CSS_SELECTOR, "#rows button").send_keys(Keys.ENTER)
    viewer = opened.find_element(By.ID, "viewer")
    (image,) = viewer.find_elements(By.TAG_NAME, "img")
    loaded = "return arguments[0].complete && arguments[0].naturalWidth > 100"
    WebDriverWait(opened, _PATIENCE).until(lambda driver: driver.execute_script(loaded, image))
    assert "score" in image.get_attribute("alt")

    width = image.size["width"]
    viewer.find_element(By.ID, "zoom").send_keys(Keys.END)
    assert image.size["width"] == pytest.approx(4 * width, rel=0.02)
    amplitude = "return Number(document.querySelector('#window-filter .gamma *').getAttribute('amplitude'))"
    before = opened.execute_script(amplitude)
    window = viewer.find_element(By.CSS_SELECTOR, "[data-look=window]")
    window.send_keys(Keys.HOME)
    assert opened.execute_script(amplitude) == before / 4
    window.send_keys(Keys.END)
    assert opened.execute_script(amplitude) == before * 4
    window.send_keys(Keys.ESCAPE)
    assert viewer.get_attribute("open") is None


def test_the_heat_map_is_shown_or_hidden_everywhere(opened: Any) -> None:
    path = opened.find_element(By.CSS_SELECTOR, "#cards .heat")
    assert path.is_displayed()
    click(opened, opened.find_element(By.CSS_SELECTOR, "#gallery [data-look=heat]"))
    assert not path.is_displayed()
    assert not opened.find_element(By.CSS_SELECTOR, "#viewer [data-look=heat]").is_selected()


def test_wrong_decisions_stand_beside_right_ones_of_the_same_label(opened: Any, page: Path) -> None:
    rows = [row for row in data_of(page)["examinations"] if row[12] is not None and row[3] is not None]
    columns = opened.find_elements(By.CSS_SELECTOR, "#cards > div")
    titles = {
        ("False", "negatives"): (1, 0),
        ("True", "positives"): (1, 1),
        ("False", "positives"): (0, 1),
        ("True", "negatives"): (0, 0),
    }
    assert len(columns) == 4
    for column, ((right, decision), (known, predicted)) in zip(columns, titles.items(), strict=True):
        wanted = [row[0] for row in rows if (row[3], row[2]) == (known, predicted)]
        assert column.find_element(By.TAG_NAME, "h3").text == f"{right} {decision} ({len(wanted)})"
        shown = [item.text for item in column.find_elements(By.CSS_SELECTOR, "figcaption .link")]
        assert shown == [name[:12] for name in wanted[:4]]


def test_the_gallery_turns_its_pages(opened: Any) -> None:
    Select(opened.find_element(By.ID, "what")).select_by_value("")
    first = opened.find_elements(By.CSS_SELECTOR, "#cards .picture")
    assert len(first) == 24
    click(opened, opened.find_element(By.CSS_SELECTOR, '#gallery-pages [data-step="on"]'))
    assert 0 < len(opened.find_elements(By.CSS_SELECTOR, "#cards .picture")) <= 24
    assert "page 2" in opened.find_element(By.ID, "gallery-pages").text


def test_shown_ids_are_copied(opened: Any, page: Path) -> None:
    """What was copied is pasted into the search field, which joins its lines."""
    rows = data_of(page)["examinations"]
    field(opened, "text").send_keys(rows[3][0])
    click(opened, opened.find_element(By.ID, "copy"))
    assert opened.find_element(By.ID, "copy").text == "Copied 1"
    field(opened, "text").send_keys(Keys.CONTROL, "a")
    field(opened, "text").send_keys(Keys.CONTROL, "v")
    assert field(opened, "text").get_attribute("value") == rows[3][0]


def test_every_image_has_a_text_and_every_control_a_name(opened: Any) -> None:
    nameless = """return [...document.querySelectorAll('img, button, input, select, a')].filter(
        (item) => !(item.alt || item.ariaLabel || item.textContent.trim() || item.labels?.length)).length"""
    assert opened.execute_script("return document.querySelectorAll('#cards img').length") > 0
    assert opened.execute_script(nameless) == 0


def test_colours_follow_the_system_until_the_button_says_otherwise(opened: Any) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    light = opened.execute_script(paper)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    dark = opened.execute_script(paper)
    assert dark != light
    click(opened, opened.find_element(By.ID, "theme"))
    assert opened.execute_script(paper) == light
    click(opened, opened.find_element(By.ID, "theme"))
    assert opened.execute_script(paper) == dark
    click(opened, opened.find_element(By.ID, "theme"))
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [390, 1280, 1400])
def test_nothing_is_cut_at_any_width(width: int, opened: Any) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    cut = "return [...document.querySelectorAll('html, .scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
    assert opened.execute_script(cut) == 0
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_run_without_maps_and_labels_opens_with_an_empty_console(chromium: Any, tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", None)])
    chromium.get(write_page(ReportConfig(tmp_path)).as_uri())
    assert chromium.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert chromium.get_log("browser") == []
