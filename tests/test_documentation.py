"""The documentation: links lead somewhere, commands and options exist, Python blocks compile, README is short."""

import ast
import importlib.metadata
import re
import shlex

import click
import pytest
import yaml

from study.cli import cli
from tests.helpers import ROOT
from tests.helpers.pages import BLOCK

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "search_spaces" / "README.md"])


def names(pages):
    return [str(page.relative_to(ROOT)) for page in pages]


def commands(text):
    """Yield every call of ``drft-study`` in the blocks and code spans of a page, as words."""
    spans = [line for kind, block in BLOCK.findall(text) if kind in {"", "bash"} for line in block.splitlines()]
    spans += re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    for span in spans:
        for part in re.split(r"&&|\||;", span.partition("#")[0]):
            if part.strip().startswith("drft-study "):
                yield shlex.split(part)[1:]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", BLOCK.sub("", page.read_text()))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_and_their_options_exist(page):
    if page.name == "CHANGELOG.md":  # it names what was removed, too
        return
    for words in commands(page.read_text()):
        command, context = cli, click.Context(cli)
        while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z]+", words[0]):
            command = command.get_command(context, words.pop(0))
            assert command is not None, words
        known = {
            option
            for parameter in command.get_params(context)
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--version", "--help"}, words


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_python_blocks_compile(page):
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "python":
            ast.parse(block)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1000


def test_every_page_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert all(f"(docs/{page.name})" in readme for page in (ROOT / "docs").glob("*.md"))


def test_the_citation_has_the_version_and_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    metadata = importlib.metadata.metadata("drft-study")
    assert (citation["version"], citation["license"]) == (metadata["Version"], metadata["License-Expression"])
