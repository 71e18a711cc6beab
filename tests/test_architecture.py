"""The layout: imports run one way from folder to folder, modules stay small, and importing starts nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ("plw", "analysis", "hydra_plugins")

GROUND = ("files", "results", "runtime", "pretrained")
"""Packages that know nothing of studies, each on its own or on those before it."""
FLOW = (*GROUND, "config", "data", "loss", "launch", "train", "integrations", "evaluate", "world", "registry")
"""Packages of plw in the order of the flow: each imports only from those before it, and from the root modules."""
TOPS = ("pipeline", "sweep", "commands")
"""What brings the packages together, in order; no package of the flow knows them."""
APART = {
    ("evaluate", "train"),
    ("evaluate", "integrations"),
    ("world", "train"),
    ("registry", "train"),
    ("registry", "evaluate"),
}
"""(importer, imported): what the order would allow and the design does not. What one makes for another are files."""

ANALYSIS: dict[str, set[str]] = {
    "scores": set(),
    "items": {"scores"},
    "published": set(),
    "glmm": {"scores"},
    "gam": {"scores"},
    "inference": {"scores", "items", "glmm", "gam", "published"},
    "tables": {"scores", "items", "glmm", "gam", "inference", "published"},
    "figures": {"scores", "published", "items", "glmm", "gam", "inference", "tables"},
    "report": {"scores", "published", "items", "glmm", "gam", "inference", "tables", "figures"},
}
"""Folder of the analysis -> the others that it may import."""

REGISTRY_ROWS = ("plw.registry.rows", "plw.registry.schema")

MODULE_LINES, ENTRY_LINES = 350, 80
ENTRY_POINTS = ("plw/cli.py", "plw/__main__.py")


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the library."""
    found = {}
    for top in LIBRARY:
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules of the library that a file imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(module for name in names if (module := _module_of(name)))


def _module_of(name: str) -> str:
    """The longest part of a dotted name that is a module of the library; nothing for other libraries."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name


def package(module: str) -> str:
    """The package below plw or analysis that a module belongs to; empty for a root module."""
    parts = module.split(".")
    is_package = (ROOT / parts[0] / parts[1]).is_dir() if len(parts) > 1 else False
    return parts[1] if is_package else ""


def uses() -> Iterator[tuple[str, str]]:
    """Every pair of a module and one that it imports."""
    for module, path in modules().items():
        for used in imports(path):
            yield module, used


def offences(broken: Iterator[tuple[str, str]]) -> str:
    return "\n".join(sorted(f"{module} imports {used}" for module, used in broken))


def in_plw(name: str) -> bool:
    return name.split(".")[0] == "plw"


def in_analysis(name: str) -> bool:
    return name.split(".")[0] == "analysis"


def folder(module: str) -> str:
    """A module's folder, at any depth; a root module stands for itself."""
    path = modules()[module]
    inside = path.parent.relative_to(ROOT).as_posix()
    return module if inside in LIBRARY and path.name != "__init__.py" else inside


def test_every_folder_has_its_rule() -> None:
    of_plw = {package(name) for name in modules() if in_plw(name)} - {""}
    assert of_plw == {*FLOW, *TOPS, "testing"}
    assert {package(name) for name in modules() if in_analysis(name)} - {""} <= set(ANALYSIS)


def test_packages_import_along_the_flow() -> None:
    order = [*FLOW, *TOPS]
    pairs = ((m, u) for m, u in uses() if in_plw(m) and in_plw(u) and package(m) in order and package(u) in order)
    assert not offences((m, u) for m, u in pairs if order.index(package(u)) > order.index(package(m)))


@pytest.mark.parametrize(("importer", "imported"), sorted(APART))
def test_packages_that_stay_apart(importer: str, imported: str) -> None:
    pairs = ((m, u) for m, u in uses() if in_plw(m) and in_plw(u))
    assert not offences((m, u) for m, u in pairs if package(m) == importer and package(u) == imported)


def test_root_modules_import_no_package() -> None:
    roots = ((m, u) for m, u in uses() if in_plw(m) and not package(m) and m not in ("plw.cli", "plw.__main__"))
    assert not offences((m, u) for m, u in roots if package(u))


def test_the_library_does_not_import_what_tests_and_benchmarks_share() -> None:
    assert not offences((m, u) for m, u in uses() if package(u) == "testing" and package(m) != "testing")


def test_the_analysis_runs_one_way() -> None:
    pairs = ((m, u) for m, u in uses() if in_analysis(m) and in_analysis(u) and package(m) != package(u))
    assert not offences((m, u) for m, u in pairs if package(u) and package(u) not in ANALYSIS[package(m)])


def test_the_analysis_knows_of_plw_the_registry_results_files_and_root_modules_alone() -> None:
    pairs = ((m, u) for m, u in uses() if in_analysis(m) and in_plw(u))
    assert not offences((m, u) for m, u in pairs if package(u) not in ("", "files", "results", "registry"))


def test_only_the_scores_read_the_registry() -> None:
    """Others name its rows and their states at most."""
    pairs = ((m, u) for m, u in uses() if in_analysis(m) and in_plw(u) and package(u) == "registry")
    assert not offences((m, u) for m, u in pairs if package(m) != "scores" and u not in REGISTRY_ROWS)


def test_only_commands_know_the_analysis() -> None:
    pairs = ((m, u) for m, u in uses() if in_plw(m) and in_analysis(u))
    assert not offences((m, u) for m, u in pairs if package(m) != "commands")


def test_no_folder_imports_in_a_circle() -> None:
    """At every depth: a folder, and each folder below it, stands on its own."""
    graph: dict[str, set[str]] = {}
    for module, used in uses():
        if folder(module) != folder(used) and used not in LIBRARY:
            graph.setdefault(folder(module), set()).add(folder(used))
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_imports_in_a_circle() -> None:
    graph = {name: {used for used in imports(path) if used != name} for name, path in modules().items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    "path",
    sorted([*modules().values(), *(ROOT / "scripts").rglob("*.py")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_modules_stay_small(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= (ENTRY_LINES if str(path.relative_to(ROOT)) in ENTRY_POINTS else MODULE_LINES)


@pytest.mark.parametrize("module", ["plw.cli", *(f"scripts.{path.stem}" for path in (ROOT / "scripts").glob("*.py"))])
def test_entry_points_import_without_side_effects(module: str, tmp_path: Path) -> None:
    """Importing writes no file, prints nothing, and leaves the heavy libraries unloaded."""
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'lm_eval', 'hydra'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")
    assert not list(tmp_path.iterdir())


def test_no_two_test_files_are_named_alike() -> None:
    """The folders of tests/unit are no packages: pytest would refuse the second of two modules of one name."""
    names = [path.name for path in (ROOT / "tests" / "unit").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
