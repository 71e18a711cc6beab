"""Whether a report still says what the registry says, so that writing it again can be left out."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pandas.util import hash_pandas_object

from analysis.scores.study import Study
from plw.files import folder_hash, read_json, write_json_atomic
from plw.identity import fingerprint

SOURCE_FILE = "source.json"
ANALYSIS = Path(__file__).parents[1]
CODE = ("**/*.py", "**/*.R", "**/*.js", "**/*.css", "**/*.html")
"""Files of the analysis that a report depends on, at any depth."""

REPORT_LIBRARIES = ("jinja2", "matplotlib", "numpy", "pandas", "scipy")


def source_fingerprint(study: Study, settings: Mapping[str, Any]) -> str:
    """Everything that a report is made from: the registry's rows, the settings, this package's code, its libraries.

    Curves, answers and verdicts are not read for it: the fingerprints of the stages that wrote them stand for them.
    """
    return fingerprint(
        {
            "cells": [asdict(row) for row in study.cells],
            "stages": [
                [row.name, row.cell, row.fingerprint, row.status, row.seconds, row.error] for row in study.stages
            ],
            "scores": hashlib.sha256(hash_pandas_object(study.scores, index=False).to_numpy().tobytes()).hexdigest(),
            "settings": dict(settings),
            "code": folder_hash(ANALYSIS, CODE),
            "libraries": [version(name) for name in REPORT_LIBRARIES],
        }
    )


def is_fresh(folder: Path, source: str) -> bool:
    """Whether the folder's report was written whole and from this source."""
    path = folder / SOURCE_FILE
    return path.is_file() and read_json(path) == {"source": source}


def begin(folder: Path) -> None:
    """Say that the folder's report is being written: until ``finish`` it is not fresh."""
    (folder / SOURCE_FILE).unlink(missing_ok=True)


def finish(folder: Path, source: str) -> None:
    """Say that the folder's report is whole; the last file written."""
    write_json_atomic(folder / SOURCE_FILE, {"source": source})
