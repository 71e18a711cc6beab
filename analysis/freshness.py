"""Whether a report still says what the registry says, so that writing it again can be left out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from plw.files import folder_hash, read_json, write_json_atomic
from plw.identity import fingerprint
from plw.registry.rows import CellRow, StageRow

SOURCE = "source.json"
LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy")


def source_fingerprint(
    cells: Sequence[CellRow], stages: Sequence[StageRow], scores: pd.DataFrame, settings: Mapping[str, Any]
) -> str:
    """Everything that a report is made from: the registry's rows, the settings, this package's code, its libraries."""
    here = Path(__file__).parent
    return fingerprint(
        {
            "cells": [asdict(row) for row in cells],
            "stages": [[row.name, row.cell, row.fingerprint, row.status, row.seconds, row.error] for row in stages],
            "scores": scores.to_csv(index=False),
            "settings": dict(settings),
            "code": [folder_hash(here, ("*.py",)), folder_hash(here / "R", ("*.R",))],
            "libraries": [version(name) for name in LIBRARIES],
        }
    )


def is_fresh(folder: Path, source: str) -> bool:
    """Whether the folder's report was written whole and from this source."""
    path = folder / SOURCE
    return path.is_file() and read_json(path) == {"source": source}


def begin(folder: Path) -> None:
    """Say that the folder's report is being written: until ``finish`` it is not fresh."""
    (folder / SOURCE).unlink(missing_ok=True)


def finish(folder: Path, source: str) -> None:
    """Say that the folder's report is whole; the last file written."""
    write_json_atomic(folder / SOURCE, {"source": source})
