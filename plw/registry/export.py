"""The scores as one CSV table for people and other tools: fixed columns, fixed order, numbers to the last digit."""

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from plw.files import write_text_atomic
from plw.registry.store import Registry

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "study", "scale", "dataset", "model", "prompt_weight", "response_weight", "seed", "r_g",
    "suite", "benchmark", "metric", "value", "stderr", "n", "headline",
)  # fmt: skip


def export_csv(
    registry: Registry, target: Path | TextIO | None = None, *, study: str | None = None, scale: str | None = None
) -> int:
    """Write every score to a file (whole or not at all), a text stream, or standard output.

    A missing value is an empty field. Floats are written in the shortest form that reads back to the same number,
    flags as ``true`` and ``false``. The order is that of the columns up to the metric, and does not depend on when a
    score was written.

    Returns:
        The number of scores.
    """
    frame = registry.scores_frame(study=study, scale=scale)[list(COLUMNS)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*(_texts(frame[name]) for name in COLUMNS), strict=True))
    if isinstance(target, Path):
        write_text_atomic(target, text.getvalue())
    else:
        (target or sys.stdout).write(text.getvalue())
    return len(frame)


def _texts(column: "pd.Series[Any]") -> list[str]:
    return ["" if missing else _text(value) for value, missing in zip(column.tolist(), column.isna(), strict=True)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
