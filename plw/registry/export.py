"""The scores as one CSV table for people and other tools: fixed columns, fixed order, numbers to the last digit."""

import csv
import io
from pathlib import Path
from typing import TextIO

import numpy as np
from pandas import NA

from plw.files import write_text_atomic
from plw.registry.store import Registry

COLUMNS = (
    "study", "scale", "dataset", "model", "prompt_weight", "response_weight", "seed", "r_g",
    "suite", "benchmark", "metric", "value", "stderr", "n", "headline",
)  # fmt: skip


def export_csv(registry: Registry, target: Path | TextIO, *, study: str | None = None, scale: str | None = None) -> int:
    """Write every score to a file (whole or not at all) or an open text stream; a missing value is an empty field.

    Floats are written in the shortest form that reads back to the same number, flags as ``true`` and ``false``. The
    order is that of the columns up to the metric, and does not depend on when a score was written.

    Returns:
        The number of scores.
    """
    frame = registry.scores_frame(study=study, scale=scale)[list(COLUMNS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_text(value) for value in row] for row in frame.itertuples(index=False))
    if isinstance(target, Path):
        write_text_atomic(target, text.getvalue())
    else:
        target.write(text.getvalue())
    return len(frame)


def _text(value: object) -> str:
    if value is NA or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
