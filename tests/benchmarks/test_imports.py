"""Every module of benchmarks and tools imports, and every command prints its help."""

import importlib
import re
import sys

import pytest

from tests.helpers import ROOT

PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("benchmarks", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
COMMANDS = [module for module, path in PATHS.items() if '__name__ == "__main__"' in path.read_text()]


@pytest.mark.parametrize("module", PATHS)
def test_every_module_imports(module):
    importlib.import_module(module)


def test_the_documented_commands_exist():
    pages = (ROOT / "benchmarks" / "README.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    documented = "".join(page.read_text() for page in pages)
    assert set(re.findall(r"python -m ((?:benchmarks|tools)\.[\w.]*\w)", documented)) <= set(COMMANDS)
    assert {"benchmarks.chaos", "benchmarks.peers", "tools.pretrain.pretrain"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_prints_its_help(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main()
    assert ended.value.code == 0
    assert f"usage: python -m {module} " in capsys.readouterr().out
