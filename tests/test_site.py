"""The documentation's site: it builds without a warning, loads nothing from elsewhere, and can be searched."""

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import drft
import study
from study.cli import COMMANDS
from tests.helpers import ROOT
from tests.helpers.browser import Browser

LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^\"' >]+")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_can_be_served():
    pytest.importorskip("mkdocs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", address]
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE) as process:
        try:
            printed = []
            for line in process.stderr:
                printed.append(line)
                if "Serving on" in line:
                    break
            assert "Serving on" in printed[-1], "".join(printed)
            with urllib.request.urlopen(f"http://{address}/docs/answer.html", timeout=60) as response:
                assert b"How the answer is made" in response.read()
        finally:
            process.terminate()


def test_commands_and_public_names_are_in_the_reference(site):
    commands = (site / "reference/commands.html").read_text()
    assert [name for name in COMMANDS if f"Usage: drft-study {name} " not in commands] == []
    python = (site / "reference/python.html").read_text()
    names = [f"{package._MODULES[name]}.{name}" for package in (study, drft) for name in package.__all__]
    assert [name for name in names if f'id="{name}"' not in python] == []


def test_pages_load_nothing_from_other_servers(site):
    pages = [path for path in site.rglob("*.html") if "reference/idrid" not in path.as_posix()]
    assert len(pages) > 20
    loaded = {path.name: LOADED.findall(path.read_text()) for path in pages}
    assert {name: found for name, found in loaded.items() if found} == {}


def test_pages_can_be_searched(site):
    index = json.loads((site / "search/search_index.json").read_text())
    assert any("floor" in page["text"] for page in index["docs"])


@pytest.mark.parametrize("width", [1440, 390])
def test_search_works_in_a_browser(address: str, browser: Browser, width: int):
    browser.open(f"{address}/docs/answer.html?q=finalist", width)
    browser.wait(lambda driver: driver.find_elements("css selector", ".md-search-result__item"), "what was found")
    assert browser.overflow <= 0
    assert browser.errors() == []
