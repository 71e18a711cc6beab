"""The training log: one JSON object a step, which never says more than the weights can account for after a crash."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from plw.files.writing import write_jsonl_atomic


def logged_steps(path: Path) -> list[dict[str, Any]]:
    """The rows for steps 1, 2, 3, ... as far as they are whole; a torn last line and what follows it are not read."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or row.get("step") != len(rows) + 1:
            break
        rows.append(row)
    return rows


class TrainingLog:
    """Appends rows to a file that was first cut back to the rows of the steps before."""

    def __init__(self, path: Path, rows: list[dict[str, Any]]) -> None:
        write_jsonl_atomic(path, rows)
        self._file = path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        """Hand one row to the operating system, so that it outlives this process."""
        self._file.write(json.dumps(row, allow_nan=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Force the rows onto the disk: before a checkpoint that counts on them."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
