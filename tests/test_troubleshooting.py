"""The page "when something is wrong" quotes messages that the code really has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = [
    text for cell in re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE) for text in re.findall(r"`([^`]+)`", cell)
]
GAP = "…"
"""Stands for what a message fills in."""


def texts(node: ast.AST) -> str:
    """A string of the source as the page would quote it: each value that is filled in, also by a log, is a gap."""
    if isinstance(node, ast.Constant):
        return re.sub(r"%[ds]", GAP, str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    return ""


@pytest.fixture(scope="module")
def source() -> str:
    """Every string of the library that may reach a user."""
    found = []
    for top in ("plw", "analysis", "hydra_plugins"):
        for path in (ROOT / top).rglob("*.py"):
            found += map(texts, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return "\n".join(found)


def test_there_is_something_to_look_up() -> None:
    assert len(QUOTED) > 30


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_message_is_in_the_source(quoted: str, source: str) -> None:
    assert quoted in source
