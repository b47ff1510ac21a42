"""The dashboard as a browser shows it."""

import threading

import pytest
from optuna.trial import TrialState

from study.dashboard import open_dashboard
from study.results.study_folder import StudyFolder
from tests.helpers.fake_training import fake_record, fake_result, scripted

pytestmark = pytest.mark.timeout(600)  # the dashboard's pages are one script of 6 MB


@pytest.fixture(scope="module")
def results(make_study, tmp_path_factory):
    results = make_study(tmp_path_factory.mktemp("pages"), "demo", [TrialState.COMPLETE] * 12)
    config = scripted()
    trained = fake_result(config, [fake_record(config, step) for step in range(1, 11)], "completed")
    folder = StudyFolder(results / "demo")
    folder.write_study("search: {}\n", {})
    folder.write_trial(0, trained, checkpoint=True)
    return results


@pytest.fixture(scope="module")
def dashboard(results, tmp_path_factory):
    """Read-only, with the password `sesame`."""
    password = tmp_path_factory.mktemp("secret") / "password"
    password.write_text("sesame")
    password.chmod(0o600)
    opened = open_dashboard(["demo"], results, port=0, read_only=True, password_file=password)
    opened.findings.refresh()
    thread = threading.Thread(target=opened.serve)
    thread.start()
    yield opened
    opened.close()
    thread.join()


def test_nothing_is_shown_without_the_password(browser, dashboard):
    browser.open(dashboard.url)
    assert "demo" not in browser.text
    assert any("401" in error for error in browser.errors())


@pytest.mark.parametrize("width", [1440, 390])
def test_figures_are_on_the_page_of_their_study(browser, dashboard, width):
    browser.use("anybody", "sesame")
    browser.open(dashboard.url, width=width)
    browser.wait_for_text("Trials in order")  # the title of a figure of ours
    assert browser.errors() == []


def test_the_summary_is_the_note_of_its_study(browser, dashboard):
    browser.use("anybody", "sesame")
    browser.open(f"{dashboard.url}/note")
    browser.wait_for_text("What drft-study found")
    assert browser.errors() == []


def test_artifacts_are_on_the_page_of_their_trial(browser, dashboard):
    browser.use("anybody", "sesame")
    browser.open(f"{dashboard.url}/trials?numbers=0")
    for name in ("curves.svg", "confusion.svg", "config.yaml", "best.safetensors"):
        browser.wait_for_text(name)
    drawn = "return [...document.images].filter(i => i.src.includes('/artifacts/') && i.naturalWidth > 0).length"
    browser.wait(lambda driver: driver.execute_script(drawn) == 2, "both images")
    assert browser.errors() == []


def test_read_only_refuses_a_change_with_a_message(browser, dashboard):
    browser.use("anybody", "sesame")
    browser.open(dashboard.url.partition("/studies/")[0])
    browser.wait_for_text("demo")
    press(browser, "[aria-label='delete study']", "")
    press(browser, "[role=dialog] button", "Yes")
    browser.wait_for_text("Failed to delete study")
    assert any("403" in error for error in browser.errors())


def press(browser, selector, text):
    """Press the button with this text as soon as the page has it."""
    find = "return [...document.querySelectorAll(arguments[0])].find(b => b.textContent.trim() == arguments[1])"
    browser.wait(lambda driver: driver.execute_script(find, selector, text), text or selector).click()
