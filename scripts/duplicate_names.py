"""Public names that are defined in more than one module: one name means one thing.

    python scripts/duplicate_names.py

Lists classes, functions and constants of `plw`, `analysis` and `hydra_plugins` that two modules or more define, and
ends with exit code 1 where one of them is not in ``ALLOWED``. Methods, names of one module alone and names that start
with an underscore do not count.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("plw", "analysis", "hydra_plugins")

ALLOWED: Mapping[str, str] = {
    "add_to": "each module of plw/commands registers its own words on the command line",
    "rebuild": "the command of plw/commands is named as a person types it, and calls the function of that name",
    "merge": "as rebuild",
    "upgrade": "what alembic calls in each revision",
    "revision": "what alembic reads in each revision",
    "down_revision": "what alembic reads in each revision",
    "logger": "a module's logger, by the standard library's custom",
}
"""Name -> why several modules define it."""


def public_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines at its top level, without those that start with an underscore."""
    for node in tree.body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _is_type_variable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = (node for target in targets for node in ast.walk(target))
            names = [name.id for name in found if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)]
        yield from (name for name in names if not name.startswith("_"))


def _is_type_variable(value: ast.expr | None) -> bool:
    """Whether an assigned value is ``TypeVar(...)``, whose name means something in its module alone."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"


def duplicates(root: Path = ROOT) -> dict[str, list[str]]:
    """Name -> the modules that define it, for names of more than one module."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            for name in public_names(ast.parse(path.read_text(encoding="utf-8"))):
                found[name].add(module)
    return {name: sorted(modules) for name, modules in sorted(found.items()) if len(modules) > 1}


def main() -> int:
    """Print every such name; 1 where one is not allowed."""
    found = duplicates()
    for name, modules in found.items():
        print(f"{name}: {', '.join(modules)} ({ALLOWED.get(name, 'NOT ALLOWED')})")
    return int(bool(found.keys() - ALLOWED.keys()))


if __name__ == "__main__":
    sys.exit(main())
