"""What a study came to, and whether everything in it was done exactly once."""

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.files.hashing import file_hash
from plw.registry import Registry, StageRow, export_csv, verify_results
from plw.results.items import ITEMS

REMEDY = re.compile(r"remove (\S+?)[,;]? (?:to make|and)")
"""How a line of ours names the folder whose work is to be done again."""
OF_STAGE = frozenset({"record.json", "payload.json"})
"""Files of a finished stage that its record does not list."""
TIMES = ("seconds", "tokens_per_second", "mfu", "peak_memory_gib")
"""Fields of a training step that differ from run to run."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a study found, without when and by whom."""

    scores: str
    """The exported table."""
    items: dict[str, str]
    """Item table of a stage -> its SHA-256."""
    curves: dict[str, list[dict[str, Any]]]
    """Folder of a training -> its steps."""


def results(runs: Path, url: str) -> Results:
    """Read a finished study."""
    scores = io.StringIO()
    with Registry.open(url, create=False) as registry:
        export_csv(registry, scores)
    trained = {path.parent: json.loads(path.read_text()) for path in sorted(runs.rglob("train/record.json"))}
    return Results(
        scores=scores.getvalue(),
        items={str(path.relative_to(runs)): file_hash(path) for path in sorted(runs.rglob(ITEMS))},
        curves={
            str(folder.relative_to(runs)): [
                {name: value for name, value in step.items() if name not in TIMES} for step in record["curves"]
            ]
            for folder, record in trained.items()
        },
    )


def stage_rows(url: str) -> list[StageRow]:
    """Every stage that the registry knows."""
    with Registry.open(url, wait_s=60) as registry:
        return registry.stage_rows()


def damaged_folders(runs: Path, url: str) -> tuple[set[Path], list[str]]:
    """The folders that ``plw registry verify`` says to remove, and its lines."""
    lines = list(verify_results(url, runs).problems)
    named = {Path(match[1]) for line in lines if (match := REMEDY.search(line))}
    assert all(runs in folder.parents for folder in named), lines
    return named, lines


def done_more_than_once(runs: Path, url: str, stages: int) -> list[str]:
    """What contradicts that each stage was finished exactly once, and that nobody wrote after that.

    Args:
        runs: The results.
        url: Their registry.
        stages: How many there are to be.
    """
    found = list(verify_results(url, runs).problems)
    records = sorted(runs.glob("*/*/*/*/*/record.json"))
    rows = stage_rows(url)
    if len(records) != stages:
        found.append(f"{len(records)} records, not {stages}")
    if len(rows) != stages or any(row.status != "done" for row in rows):
        found.append(f"{len(rows)} rows of {stages}: {sorted(row.status for row in rows)}")
    for path in records:
        products = json.loads(path.read_text())["products"]
        there = {file.relative_to(path.parent).as_posix() for file in path.parent.rglob("*") if file.is_file()}
        found += [f"{path.parent / name}: nobody's" for name in sorted(there - products.keys() - OF_STAGE)]
        found += [
            f"{path.parent / name}: written after the stage was done"
            for name, about in products.items()
            if (path.parent / name).stat().st_mtime_ns != about["mtime_ns"]
        ]
        if any(folder.is_dir() and not any(folder.iterdir()) for folder in path.parent.rglob("*")):
            found.append(f"{path.parent}: an empty folder")
    return found
