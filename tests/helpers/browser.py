"""A headless Chromium for tests of pages; the fixture ``browser`` in ``tests/conftest.py`` starts it."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
WAIT_SECONDS = 200
"""Longest wait for a page; a busy machine is slow."""


class Browser:
    """A Chromium, with helpers for tests of pages.

    Args:
        driver: Selenium's driver.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        driver.execute_cdp_cmd("Network.enable", {})

    def open(self, url: str, width: int = 1440, height: int = 900) -> None:
        """Open a page on a screen of this size in CSS pixels, and clear the console messages."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.errors()
        self.driver.get(url)

    def use(self, user: str, password: str) -> None:
        """Send user and password with every request."""
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {token}"}})

    def wait(self, condition: Callable[[Any], Any], content: str) -> Any:
        """Wait until a condition on Selenium's driver holds, and return its value."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT_SECONDS).until(condition, f"the page does not show {content}")

    def wait_for_text(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.wait(lambda driver: text in self.text, repr(text))

    def forget(self) -> None:
        """Leave the page, and clear password, cookies and cache for the next test."""
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.driver.get("about:blank")

    @property
    def text(self) -> str:
        """The visible text of the page."""
        return str(self.driver.execute_script("return document.body.innerText"))

    @property
    def overflow(self) -> int:
        """CSS pixels by which the page is wider than the screen."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth"))

    def errors(self) -> list[str]:
        """Return the console messages of level SEVERE since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Save a PNG of the visible part of the page, or of the whole page."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


def open_browser(profile: Path) -> Browser:
    """Start a Chromium with its files in ``profile``; skip the test if Chromium is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.command_executor.client_config.timeout = WAIT_SECONDS
    return Browser(opened)
