"""Runs two cells in one process and prints, as JSON, what the second takes: `python stage_memory.py CELLS.json`.

The file has the two configs. The first cell brings in every library, so that the second one's memory is its own.
"""

import json
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def mebibytes(field: str) -> float:
    """A field of the kernel's account of this process: VmHWM (peak), RssAnon (held, files left out)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print resident MiB before, and peak and held MiB of each stage and after the cell."""
    from plw.config import CellConfig
    from plw.config.plain import from_plain
    from plw.pipeline import JudgeCache, resolve_cell, run_cell
    from plw.runtime.memory import release_memory

    first, second = (from_plain(CellConfig, plain) for plain in json.loads(Path(sys.argv[1]).read_text()))
    stages: dict[str, dict[str, float]] = {}

    def report(label: str, stage: str, done: int, total: int | None, note: str) -> None:
        if total is None:
            stages[stage] = {"peak": mebibytes("VmHWM"), "held": mebibytes("RssAnon")}
            CLEAR.write_text(RESET_PEAK)

    with JudgeCache() as judges:
        run_cell(resolve_cell(first), lambda *_: None, judges)
        release_memory()
        before = {"peak": mebibytes("VmRSS"), "held": mebibytes("RssAnon")}
        CLEAR.write_text(RESET_PEAK)
        outcome = run_cell(resolve_cell(second), report, judges)
    release_memory()
    errors = {kind: stage.error for kind, stage in outcome.stages.items() if stage.error}
    found = {"before": before, "stages": stages, "after": mebibytes("RssAnon"), "errors": errors}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
