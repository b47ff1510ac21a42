"""Lay out the pages of the documentation's site: the repository's Markdown files, and generated references.

MkDocs calls ``on_config`` before it builds (``hooks`` in ``mkdocs.yml``). It reads one folder, and the pages are all
over the repository; so what the site needs is copied to a folder with the same layout, in which links between files
stay as they are.
"""

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click

from study.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[1]

COPIED = (
    "*.md", "LICENSE", "docs/*", "examples/*", "search_spaces/*.md", "search_spaces/*.yaml",
    "drft/models/embedded/README.md", "results/benchmarks/*", "results/reference/**/*",
)  # fmt: skip
"""Files of the repository that are on the site."""

PACKAGES = {
    "study": "Studies: search, cross-validation, results and reports.",
    "drft": "One training in two phases, at a chosen depth.",
}
"""The packages whose public names are in the reference."""


def on_config(config: Any) -> Any:
    """Point MkDocs to a folder with the pages."""
    folder = Path(mkdtemp(prefix="drft-site-"))
    for pattern in COPIED:
        for path in ROOT.glob(pattern):
            if path.is_file():
                target = folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    reference = folder / "reference"
    reference.mkdir()
    (reference / "commands.md").write_text("\n".join(commands_page()), encoding="utf-8")
    (reference / "python.md").write_text("\n".join(python_page()), encoding="utf-8")
    config.docs_dir = str(folder)
    return config


def on_post_build(config: Any) -> None:
    """Remove the folder; the next build makes another one."""
    shutil.rmtree(config.docs_dir)


def on_serve(server: Any, config: Any, builder: Any) -> Any:  # noqa: ARG001 (MkDocs names the arguments)
    """Have ``mkdocs serve`` watch the files of the repository (``watch`` in ``mkdocs.yml``) instead of the folder."""
    server.unwatch(config.docs_dir)
    return server


def commands_page() -> Iterator[str]:
    """Yield the lines of the page with every command's help."""
    yield "# Commands\n"
    yield "The same texts are printed by `drft-study COMMAND --help`."
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli, info_name="drft-study"), name)
        assert command is not None
        yield from _help(command, click.Context(cli, info_name="drft-study"), name, 2)


def _help(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    """Yield the lines on one command and its subcommands."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80, max_content_width=80)
    yield f"\n{'#' * level} {context.command_path}\n"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for member in command.list_commands(context):
            inner = command.get_command(context, member)
            assert inner is not None
            yield from _help(inner, context, member, level + 1)


def python_page() -> Iterator[str]:
    """Yield the lines of the page with the public names of the packages."""
    yield "# Python\n"
    for package, about in PACKAGES.items():
        module = importlib.import_module(package)
        yield f"## `{package}`\n\n{about}\n"
        for name in module.__all__:
            where = module._MODULES[name]  # the published name is imported from there  # noqa: SLF001
            yield f"::: {where}.{name}\n"
