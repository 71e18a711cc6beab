"""Time `plw status`, `plw registry export` and `plw report` on a registry of a million score rows, with their memory.

    python -m scripts.bench_registry [--cells 22000]

Prints a row a command: seconds, CPU seconds and peak memory of a process of its own.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from plw.registry import CellRow, Registry
from plw.registry.schema import cells, scores, stages
from plw.results.score import Score

STAGES = {"train": 0, "diagnose": 5, "harness": 30, "generate": 1, "judge": 10}
"""Kind -> scores that a stage leaves."""
CELLS_AT_ONCE = 500


def fill(url: str, count: int) -> int:
    """Make a registry of so many finished cells; the number of its scores."""
    total = 0
    with Registry.open(url) as registry:
        for start in range(0, count, CELLS_AT_ONCE):
            rows = [_cell(number) for number in range(start, min(start + CELLS_AT_ONCE, count))]
            stage_rows = [_stage(cell, kind) for cell in rows for kind in STAGES]
            score_rows = [row for cell in rows for kind, n in STAGES.items() for row in _scores(cell, kind, n)]
            with registry.transaction() as connection:
                connection.execute(cells.insert(), [cell.to_dict() for cell in rows])
                connection.execute(stages.insert(), stage_rows)
                connection.execute(scores.insert(), score_rows)
            total += len(score_rows)
    return total


def _cell(number: int) -> CellRow:
    return CellRow(
        study="plw", scale="mini", cell=f"{number * 2654435761 % 2**64:064x}", dataset=f"data-{number % 11}",
        model=f"model-{number % 4}", prompt_weight=number % 10 / 10, response_weight=1.0, normalizer="nonzero",
        scope="batch", seed=number // 220, r_g=0.5, folder=f"plw-mini/cell-{number}", payload="x" * 2000, created=1.0,
        recipe="mini",
    )  # fmt: skip


def _stage(cell: CellRow, kind: str) -> dict[str, object]:
    key = {"study": cell.study, "scale": cell.scale, "cell": cell.cell, "name": kind, "kind": kind}
    return key | {"fingerprint": "f", "status": "done", "attempts": 1, "started": 1.0, "finished": 2.0, "seconds": 1.0}


def _scores(cell: CellRow, kind: str, count: int) -> list[dict[str, object]]:
    key = {"study": cell.study, "scale": cell.scale, "cell": cell.cell, "stage": kind}
    chance = random.Random(f"{cell.cell}-{kind}")
    made = (
        Score(
            suite="world", benchmark=f"{kind}-{number}", metric="acc", headline=kind in ("harness", "judge"),
            higher_is_better=True, value=(1 + number % 7 + cell.prompt_weight + chance.random()) / 10, stderr=0.01,
            n=100,
        )
        for number in range(count)
    )  # fmt: skip
    return [key | asdict(score) | {"judge": ""} for score in made]


def timed(words: list[str]) -> dict[str, float]:
    """Seconds and peak memory (MB) of a `plw` command."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "plw", *words], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(used.ru_maxrss / 1024)}


def main() -> None:
    """Fill, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=22_000)
    count = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/registry.sqlite"
        print(json.dumps({"cells": count, "scores": fill(url, count)}), flush=True)
        study = ["study=plw", "scale=mini", f"registry.url={url}"]
        print(json.dumps({"command": "status", **timed(["status", *study])}), flush=True)
        # Memory of children is the largest of them, and each command takes more than the one before.
        out = str(Path(folder) / "scores.csv")
        print(json.dumps({"command": "export", **timed(["registry", "export", *study, "--out", out])}), flush=True)
        page = ["--out", str(Path(folder) / "report"), f"execution.runs={folder}/runs"]
        print(json.dumps({"command": "report", **timed(["report", *study, *page])}))


if __name__ == "__main__":
    main()
