"""The house: `drft` imports nothing of `study`, nothing imports in circles, and help stays light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.helpers import ROOT

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("drft", "study")
    for path in (ROOT / package).rglob("*.py")
}


def imported(module: str) -> set[str]:
    """The project's modules that `module` imports when it is imported itself (not inside its functions)."""
    found: set[str] = set()
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in _top_level(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).rstrip(".")
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return found & MODULES.keys()


def _top_level(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _top_level(node)


def test_the_modules_are_found():
    assert {"drft.training.trial", "drft.data.dataset", "study.cli.run"} <= MODULES.keys()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("drft")])
def test_drft_imports_nothing_of_study(module):
    names = {alias.name for node in ast.walk(ast.parse(MODULES[module].read_text())) for alias in _names(node)}
    assert not {name for name in names if name.split(".")[0] in {"study", "optuna", "ray", "click"}}


def _names(node: ast.AST) -> list[ast.alias]:
    if isinstance(node, ast.Import):
        return node.names
    return [ast.alias(node.module)] if isinstance(node, ast.ImportFrom) and node.module else []


def test_there_is_no_import_cycle():
    # A package's __init__ is its shop window: a sibling that imports a room beside it does not go through the window.
    graph = {module: imported(module) - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_help_loads_no_heavy_library():
    script = "import sys, study.cli; study.cli.cli(['--help'], standalone_mode=False); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "optuna", "pandas", "numpy"} & set(output.split())
