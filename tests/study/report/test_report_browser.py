"""The report in a browser: offline, on wide and narrow screens."""

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


def column(page, index):
    return page.driver.execute_script(
        "return [...document.querySelectorAll('#trial-table tbody tr')].map(r => r.cells[arguments[0]].textContent)",
        index,
    )


def click(page, selector):
    page.driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_page_opens_without_errors_and_requests(page):
    assert page.errors() == []
    assert page.driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    figures, drawn = (
        page.driver.find_elements("css selector", selector) for selector in (".plot[data-figure]", ".plot .main-svg")
    )
    assert len(drawn) >= len(figures) > 5


def test_a_click_on_a_heading_sorts_the_table_and_a_second_reverses_it(page):
    click(page, "#trial-table th:nth-child(3) button")
    depths = [int(depth) for depth in column(page, 2) if depth]
    assert depths == sorted(depths)
    click(page, "#trial-table th:nth-child(3) button")
    assert [int(depth) for depth in column(page, 2) if depth] == depths[::-1]


def test_filters_select_rows_and_count_them(page):
    every = rows(page)
    page.driver.execute_script(
        "document.querySelector('#state-filter').value = 'failed';"
        "document.querySelector('#state-filter').dispatchEvent(new Event('input'))"
    )
    failed = rows(page)
    assert 0 < len(failed) < len(every)
    assert f"{len(failed)} of {len(every)} trials" in page.text
    field = page.driver.find_element("css selector", "#text-filter")
    field.send_keys("no such words")
    assert rows(page) == []


def test_a_click_on_a_trial_shows_its_curves_and_settings_and_escape_closes_it(page):
    click(page, "#trial-table tr.best td")
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
    click(page, "#trial-table tr[data-state=waiting] td")
    page.wait(lambda driver: driver.find_element("css selector", "#trial").is_displayed(), "the trial")
    assert page.errors() == []


def test_a_narrow_screen_needs_no_horizontal_scrolling(browser, url):
    browser.open(url, width=390, height=844)
    browser.wait(lambda driver: len(driver.find_elements("css selector", ".js-plotly-plot .main-svg")) > 8, "figures")
    assert browser.overflow <= 0
    assert browser.errors() == []


def test_dark_mode_has_light_text(page):
    script = "return ['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    text, background = page.driver.execute_script(script)
    features = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    try:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        dark_text, dark_background = page.driver.execute_script(script)
        assert (dark_text, dark_background) != (text, background)
        assert sum(map(int, dark_text[4:-1].split(","))) > sum(map(int, dark_background[4:-1].split(",")))
        assert page.errors() == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
