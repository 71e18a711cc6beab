"""The house: imports point one way, modules stay small, and importing starts nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("data", "loss", "launch", "train", "evaluate", "world", "registry")
"""In the order of the flow: a room imports only from rooms before it."""
STRANGERS = {"evaluate": {"train"}}
"""Rooms before it that a room does not know either: what one makes for the other travels as files."""
TOPS = ("pipeline", "sweep", "commands", "cli", "__main__")
"""Root modules that bring the rooms together; no room knows them."""
MODULES = sorted(path for top in ("plw", "analysis", "scripts") for path in (ROOT / top).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(path: Path) -> str:
    """The room, or the root module, that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "plw" else parts[0]


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("plw.") and name.count(".") >= 1}


def test_there_are_modules_to_check() -> None:
    assert {place(path) for path in MODULES} >= {*ROOMS, *TOPS, "analysis"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    here, used = place(path), rooms_of(imported(path))
    if here in ROOMS:
        allowed = set(ROOMS[: ROOMS.index(here) + 1]) - STRANGERS.get(here, set())
        assert not used & set(ROOMS) - allowed, f"{here} imports from a room to its right"
        assert not used & set(TOPS), f"{here} imports what brings rooms together"
    elif here == "analysis":
        assert used & set(ROOMS) <= {"registry"}, "the analysis reads the registry and files, no other room"
        assert not used & set(TOPS)
    elif here not in (*TOPS, "scripts", "testing"):
        assert not used & {*ROOMS, *TOPS}, "a root module imports a room"
    assert "testing" not in used or here in ("scripts", "testing"), "helpers of tests and benchmarks in the library"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


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
