"""Whether a report still says what the registry says, and the writing of its files in place of an earlier report's."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.util import hash_pandas_object

from analysis.scores.study import Study
from plw.errors import UserError
from plw.files.hashing import folder_hash, hash_file
from plw.files.reading import read_json
from plw.files.writing import write_bytes_atomic, write_json_atomic
from plw.results.identity import fingerprint

SOURCE_FILE = "source.json"
"""Says from what a report was made, and which files are its."""
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
            "scores": _hash_of(study.scores),
            "further": [[series.label, _hash_of(series.frame.rows)] for series in study.further],
            "settings": dict(settings),
            "code": folder_hash(ANALYSIS, CODE),
            "libraries": [version(name) for name in REPORT_LIBRARIES],
        }
    )


def _hash_of(rows: pd.DataFrame) -> str:
    return hashlib.sha256(hash_pandas_object(rows, index=False).to_numpy().tobytes()).hexdigest()


def is_fresh(folder: Path, source: str) -> bool:
    """Whether the folder's report was written whole and from this source, and its files are there."""
    manifest = _manifest(folder)
    return manifest.get("source") == source and all((folder / name).is_file() for name in _files(manifest))


def write_files(folder: Path, source: str, files: Mapping[str, bytes]) -> None:
    """Write a report's files, and remove those of the report that was there before and is not part of this one.

    ``SOURCE_FILE`` lists what was written, with hashes: a file that it does not list, or that was changed since, is a
    person's own and stays. Until the last file is written the report is not fresh.

    Args:
        folder: of the report; it is there.
        source: from ``source_fingerprint``.
        files: name -> contents.

    Raises:
        OSError: the folder cannot be written.
    """
    earlier = _files(_manifest(folder))
    written = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    # Of a writing that ends halfway both are known to the next one.
    begun = {name: sorted({*earlier.get(name, ()), *filter(None, [written.get(name)])}) for name in earlier | written}
    write_json_atomic(folder / SOURCE_FILE, {"source": None, "files": begun})
    for name, data in files.items():
        write_bytes_atomic(folder / name, data)
    for name in sorted(earlier.keys() - files.keys()):
        path = folder / name
        if path.is_file() and hash_file(path) in earlier[name]:
            path.unlink()
    write_json_atomic(folder / SOURCE_FILE, {"source": source, "files": {name: [of] for name, of in written.items()}})


def _manifest(folder: Path) -> Mapping[str, Any]:
    """What ``SOURCE_FILE`` says; nothing where there is none, or none of ours."""
    try:
        value = read_json(folder / SOURCE_FILE)
    except UserError:
        return {}
    return value if isinstance(value, dict) else {}


def _files(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name -> the hashes of the contents that were written; names of other folders are none of ours."""
    files = manifest.get("files")
    if not isinstance(files, dict):
        return {}
    return {name: hashes for name, hashes in files.items() if Path(name).name == name and isinstance(hashes, list)}
