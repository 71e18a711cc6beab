"""A training that another cell has done: a cell with a preference stage takes its model and does not train again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plw.errors import DamagedError, UserError
from plw.paths import LOG, MODEL, RECORD
from plw.pipeline.cell import Cell
from plw.pipeline.stage import Stage

TRAINED = (MODEL, LOG)
"""What a training leaves that later stages and people read."""
SAID = ("training", "data", "curves")
"""What its record says beside what every stage's does."""


def finished_training(cell: Cell) -> Stage | None:
    """The finished train stage of another cell below the runs folder that has the fingerprint of this cell's own.

    Cells of any study and scale are looked at, under the same names of dataset and model.
    """
    own = cell.stages["train"]
    if cell.pairs is None:
        return None
    for folder in _candidates(cell):
        found = Stage(kind=own.kind, name=own.name, folder=folder, fingerprint=own.fingerprint, payload=own.payload)
        try:
            if found.finished_record() is not None:
                return found
        except (UserError, DamagedError):
            # Another training, or a damaged one: neither is ours to take.
            continue
    return None


def take_over(found: Stage, folder: Path, *, always_verify: bool = False) -> dict[str, Any]:
    """Link the model and the log of a finished training into a stage's folder, each whole or not at all.

    Files are hard links where the file system has them, so that nothing is stored twice, and copies elsewhere.

    Returns:
        What the training's record says of it.

    Raises:
        UserError: the files are not what the training left.
    """
    record = found.finished_record() or {}
    for name in TRAINED:
        source = found.product(name, always=always_verify)
        waiting, place = folder / f".{name}.linked", folder / name
        for old in (waiting, place):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        if source.is_dir():
            shutil.copytree(source, waiting, copy_function=_link)
        else:
            _link(source, waiting)
        waiting.replace(place)
    return {name: record[name] for name in SAID}


def _candidates(cell: Cell) -> Iterator[Path]:
    config, name = cell.config, cell.weights_name
    pattern = f"*/{config.dataset.name}/{config.model.name}/{name}-*/train/{RECORD}"
    own = cell.stages["train"].folder
    for path in sorted(config.execution.runs_folder.glob(pattern)):
        if path.parent != own:
            yield path.parent


def _link(source: str | Path, place: str | Path) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)
