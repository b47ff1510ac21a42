"""The report in a browser: offline, on wide and narrow screens."""

import pytest

from study.report.write import write_report


@pytest.fixture(scope="module")
def url(make_study, add_graded_finalists, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("seen"), goal="depth")
    add_graded_finalists(results, "demo")
    return write_report("demo", results).as_uri()


@pytest.fixture
def page(browser, url):
    """The page with the section "Statistics" open."""
    browser.open(f"{url}#statistics")
    wait_for_figures(browser)
    return browser


def wait_for_figures(browser, least=30):
    drawn = ".js-plotly-plot .main-svg"
    browser.wait(lambda driver: len(driver.find_elements("css selector", drawn)) >= least, "figures")


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
    browser.open(f"{url}#statistics", width=390, height=844)
    wait_for_figures(browser)
    assert browser.overflow <= 0
    assert browser.errors() == []


WIDTHS = """return [...document.querySelectorAll(".plot[data-figure]")].map(element =>
    [element.closest("details") !== null, element.clientWidth, element.querySelector(".main-svg")?.clientWidth ?? 0])"""
"""Of each figure: whether it is in a section that can be closed, the width of its place and its own (0: not drawn)."""


def test_figures_of_the_closed_section_are_drawn_in_their_size_when_it_opens(browser, url):
    browser.open(url)
    wait_for_figures(browser, 12)
    widths = browser.driver.execute_script(WIDTHS)
    assert {drawn > 0 for folded, _, drawn in widths if not folded} == {True}
    assert {drawn for folded, _, drawn in widths if folded} == {0}
    assert "All trials" not in browser.text

    click(browser, "#statistics > summary")
    wait_for_figures(browser)
    widths = browser.driver.execute_script(WIDTHS)
    assert len(widths) > 12
    assert all(place > 300 and drawn == place for _, place, drawn in widths)
    assert "All trials" in browser.text
    assert browser.errors() == []


def test_a_link_to_a_folded_chapter_opens_the_section(browser, url):
    browser.open(f"{url}#cost")
    browser.wait_for_text("What accuracy costs")
    browser.open(url)
    assert "What accuracy costs" not in browser.text
    browser.driver.execute_script("location.hash = 'limits'")
    browser.wait_for_text("What cannot be concluded")
    top = "return Math.abs(document.getElementById('limits').getBoundingClientRect().bottom) < 2 * innerHeight"
    browser.wait(lambda driver: driver.execute_script(top), "the target of the link")


def test_everything_is_printed(browser, url):
    browser.open(url)
    wait_for_figures(browser, 12)
    opened = "return document.getElementById('statistics').open"
    browser.driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.driver.execute_script(opened)
    assert all(drawn == place for _, place, drawn in browser.driver.execute_script(WIDTHS))
    browser.driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert not browser.driver.execute_script(opened)


CONTRASTS = r"""
const parse = (color) => (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const paper = luminance(parse(getComputedStyle(document.body).backgroundColor));
return [...document.querySelectorAll("main *, header *, footer *")]
  .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
  .filter((element) => element.getClientRects().length && !element.closest("script, style, [hidden]"))
  .map((element) => {
    const style = getComputedStyle(element);
    const ink = luminance(parse(element.closest("svg") ? style.fill : style.color));
    return [(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), element.textContent.slice(0, 40)];
  })
  .filter(([contrast]) => contrast < 4.5);
"""
"""The texts of the page whose contrast with its paper is below that of WCAG 2.1, level AA."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser, url, scheme):
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    try:
        browser.open(f"{url}#statistics")
        wait_for_figures(browser)
        assert browser.driver.execute_script(CONTRASTS) == []
        paper = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) == (scheme == "dark")
        assert browser.errors() == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
