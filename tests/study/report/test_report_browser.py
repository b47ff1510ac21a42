"""The report as a reader sees it: in a browser, offline, on a wide and on a narrow screen."""

import pytest

from study.report.write import write_report


@pytest.fixture(scope="module")
def url(make_study, tmp_path_factory):
    return write_report("demo", make_study(tmp_path_factory.mktemp("seen"))).as_uri()


@pytest.fixture
def page(browser, url):
    browser.open(url)
    browser.wait(lambda driver: len(driver.find_elements("css selector", ".js-plotly-plot .main-svg")) > 8, "figures")
    return browser


ROWS = "return [...document.querySelectorAll('#trial-table tbody tr')]"


def rows(page):
    return page.driver.execute_script(f"{ROWS}.filter(row => !row.hidden).map(row => row.dataset.trial)")


def column(page, place):
    return page.driver.execute_script(
        "return [...document.querySelectorAll('#trial-table tbody tr')].map(r => r.cells[arguments[0]].textContent)",
        place,
    )


def press(page, selector):
    page.driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_page_opens_without_a_complaint_and_asks_the_network_for_nothing(page):
    assert page.errors() == []
    assert page.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    places, drawn = (
        page.driver.find_elements("css selector", what) for what in (".plot[data-figure]", ".plot .main-svg")
    )
    assert len(drawn) >= len(places) > 5


def test_a_heading_sorts_the_table_and_sorts_it_back(page):
    press(page, "#trial-table th:nth-child(3) button")
    depths = [int(depth) for depth in column(page, 2) if depth]
    assert depths == sorted(depths)
    press(page, "#trial-table th:nth-child(3) button")
    assert [int(depth) for depth in column(page, 2) if depth] == depths[::-1]


def test_filters_leave_what_they_name_and_count_it(page):
    everything = rows(page)
    page.driver.execute_script(
        "document.querySelector('#state-filter').value = 'failed';"
        "document.querySelector('#state-filter').dispatchEvent(new Event('input'))"
    )
    failed = rows(page)
    assert 0 < len(failed) < len(everything)
    assert f"{len(failed)} of {len(everything)} trials" in page.text
    field = page.driver.find_element("css selector", "#text-filter")
    field.send_keys("no such words")
    assert rows(page) == []


def test_a_press_on_a_trial_shows_its_curves_and_settings_and_escape_closes_it(page):
    press(page, "#trial-table tr.best td")
    best = page.driver.execute_script("return document.querySelector('#trial-table tr.best').dataset.trial")
    page.wait_for_text(f"Trial {best}")
    page.wait(
        lambda driver: len(driver.find_elements("css selector", "#trial .js-plotly-plot .main-svg")) >= 2, "curves"
    )
    for setting in ("depth_phase.lr", "loss.class_weighting"):
        assert setting in page.text
    page.driver.find_element("css selector", "#trial-close").send_keys("\ue00c")
    page.wait(lambda driver: not driver.find_element("css selector", "#trial").is_displayed(), "the closed trial")
    assert page.errors() == []


def test_a_trial_without_epochs_opens_too(page):
    press(page, "#trial-table tr[data-state=waiting] td")
    page.wait(lambda driver: driver.find_element("css selector", "#trial").is_displayed(), "the trial")
    assert page.errors() == []


def test_a_phone_needs_no_scrolling_to_the_side(browser, url):
    browser.open(url, width=390, height=844)
    browser.wait(lambda driver: len(driver.find_elements("css selector", ".js-plotly-plot .main-svg")) > 8, "figures")
    assert browser.overflow <= 0
    assert browser.errors() == []


def test_dark_paper_has_light_ink(page):
    look = "return ['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    ink, paper = page.driver.execute_script(look)
    features = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    try:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        dark_ink, dark_paper = page.driver.execute_script(look)
        assert (dark_ink, dark_paper) != (ink, paper)
        assert sum(map(int, dark_ink[4:-1].split(","))) > sum(map(int, dark_paper[4:-1].split(",")))
        assert page.errors() == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
