import pytest

PAGE = """<!doctype html><meta name=viewport content="width=device-width"><title>t</title><p>A page</p>
<script>setTimeout(() => { document.body.append("more"); console.error("out of order") }, 0)</script>"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    return path.as_uri()


def test_browser_shows_a_page_and_tells_its_errors(browser, page, tmp_path):
    browser.open(page, width=390, height=800)
    browser.wait_for_text("more")
    assert "A page" in browser.text
    assert browser.overflow == 0
    assert [error for error in browser.errors() if "out of order" in error]
    assert browser.errors() == []
    assert browser.screenshot(tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
