"""The architecture: rooms import downwards only, no private parts of other packages are used, and help stays fast."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT

PRODUCT = ("drft", "study")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in (*PRODUCT, "benchmarks", "tools")
    for path in (ROOT / package).rglob("*.py")
}
FLOORS = [
    {"study", "study.__main__"},
    {"study.cli"},
    {"study.confirm", "study.run"},
    {"study.study_run"},
    {"study.design", "study.soup", "study.dashboard", "study.export", "study.compare", "study.data_check"},
    {"study.tune"},
    {"study.messages", "study.report", "study.run_trials"},
    {"study.tuner", "study.setup"},
    {"study.analysis", "study.callbacks"},
    {"study.results", "study.executors", "study.samplers", "study.pruners"},
    {"study.space", "study.storage"},
    {"drft"},
    {"drft.training", "drft.inference"},
    {"drft.feature_cache"},
    {"drft.data", "drft.models"},
    {"drft.config"},
    {"drft.extras", "drft.files", "drft.memory_limit", "drft.metrics", "drft.own_function", "drft.python_path"},
    {"drft.errors"},
]
"""The rooms of the product. A room imports itself and rooms of lower floors."""

QUARANTINE = "study.storage.optuna_internals"
"""The only module that may use what Optuna does not publish."""


def room(module: str) -> str:
    """Return the folder, or the file in the top folder, that a module is in."""
    return ".".join(module.split(".")[:2])


def floor(module: str) -> int:
    """Return the floor of a module's room, from the top."""
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def imports(module: str, *, top_level: bool = False) -> set[str]:
    """Return the names of everything that a module imports; with ``top_level`` not inside its functions."""
    tree = ast.parse(MODULES[module].read_text())
    names: set[str] = set()
    for node in _outside_functions(tree) if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _outside_functions(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _outside_functions(node)


def own_modules(names: set[str]) -> set[str]:
    """Return the modules of the project among imported names, which may be names in a module."""
    modules = {name if name in MODULES else name.rpartition(".")[0] for name in names}
    return modules & MODULES.keys()


def test_every_room_is_on_one_floor():
    rooms = sorted(name for names in FLOORS for name in names)
    assert rooms == sorted({room(module) for module in MODULES if module.split(".")[0] in PRODUCT})


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] in PRODUCT])
def test_imports_point_downwards(module):
    upwards = {
        other for other in own_modules(imports(module)) if room(other) != room(module) and floor(other) <= floor(module)
    }
    assert not upwards


@pytest.mark.parametrize("package", PRODUCT)
def test_few_modules_lie_directly_in_a_package(package):
    modules = [path for path in (ROOT / package).glob("*.py") if not path.name.startswith("__")]
    assert len(modules) <= 8


def test_modules_do_not_import_each_other_in_circles():
    graph = {module: own_modules(imports(module, top_level=True)) - {module} for module in MODULES}
    assert list(TopologicalSorter(graph).static_order())


def test_drft_does_not_know_optuna_ray_or_the_command_line():
    foreign = {"study", "optuna", "ray", "click"}
    users = {
        (module, name)
        for module in MODULES
        if module.startswith("drft")
        for name in imports(module)
        if name.split(".")[0] in foreign
    }
    assert not users


def test_nothing_private_of_another_package_is_imported():
    private = {
        (module, name)
        for module in MODULES.keys() - {QUARANTINE}
        for name in imports(module)
        if name.split(".")[0] not in {*PRODUCT, "benchmarks", "tools", "__future__"}
        if any(part.startswith("_") for part in name.split("."))
    }
    assert not private


def test_private_attributes_of_other_objects_are_checked_by_ruff():
    """Ruff's rule SLF001 finds ``other._attribute``; the quarantine and the tests are its only exceptions."""
    settings = (ROOT / "pyproject.toml").read_text()
    assert '"SLF"' in settings
    exceptions = [line.split("=")[0].strip() for line in settings.splitlines() if "= [" in line and '"SLF' in line]
    assert exceptions == ['"tests/**"', f'"{QUARANTINE.replace(".", "/")}.py"']


def test_help_loads_no_heavy_library():
    script = "import sys, study.cli; study.cli.cli(['--help'], standalone_mode=False); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "optuna", "pandas", "numpy"} & set(output.split())


def test_packages_have_a_description():
    """The first line of every ``__init__`` says what the room is for."""
    undocumented = [
        str(path) for package in PRODUCT for path in (ROOT / package).rglob("__init__.py") if not _docstring(path)
    ]
    assert not undocumented


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text()))
