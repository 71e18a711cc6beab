"""Time a large grid's claims, records and rows: cells with a stage that does nothing, many workers, one PostgreSQL.

    python -m scripts.bench_sweep [--cells 20000] [--workers 16] [--walk] [--url URL]

Every cell goes through what `plw run` does with it (`run_cell`: its inputs, claim, heartbeat, record, rows); the work
of its stage alone is left out. The cells are handed out to the workers as a grid's are on one machine; with `--walk`
each worker goes through the whole grid by itself, as on many machines. Prints cells a second, and whether each was done
once.
"""

import argparse
import dataclasses
import json
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

WORDS = ("study=plw", "scale=mini", "stages=[train]", "model=world-wide-1", "dataset=world-data")


def configs(url: str, folder: Path, cells: int) -> list[Any]:
    """Configs of cells that differ in their seed."""
    from plw.commands.choice import chosen_cell

    places = (f"execution.runs={folder}/runs", f"execution.cache={folder}/cache")
    base = chosen_cell([*WORDS, "registry=url", f"registry.url={url}", *places])
    return [dataclasses.replace(base, seed=seed) for seed in range(cells)]


def work(chosen: list[Any], next_cell: Any, walk: bool, go: Any, answers: Any) -> None:
    """One worker: run cells until there are none, and tell what became of them and the seconds of CPU that it took."""
    from plw.pipeline import JudgeCache, open_registry, resolve_cell, run

    run.run_stage_function = nothing
    counts: Counter[str] = Counter()
    judges = JudgeCache()
    registry = open_registry(chosen[0])
    go.wait()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for index in range(len(chosen)) if walk else handed_out(next_cell, len(chosen)):
        outcome = run.run_cell(resolve_cell(chosen[index]), lambda *_: None, judges, registry)
        counts.update(stage.status for stage in outcome.stages.values())
    used = resource.getrusage(resource.RUSAGE_SELF)
    answers.put((dict(counts), used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime))


def handed_out(next_cell: Any, cells: int) -> Iterator[int]:
    """Numbers of cells that no other worker is given."""
    while True:
        with next_cell.get_lock():
            index = next_cell.value
            next_cell.value += 1
        if index >= cells:
            return
        yield index


def nothing(kind: str, context: Any, check_lease: Any) -> Any:  # noqa: ARG001 - as a stage's function is called
    """The work of a stage that does none: one score."""
    from plw.pipeline.stage import StageResult
    from plw.results.score import Score

    check_lease()
    return StageResult(scores=[Score(suite="none", benchmark=kind, metric="acc", value=0.5, headline=True)])


def run_all(chosen: list[Any], workers: int, walk: bool) -> dict[str, Any]:
    """All cells by so many processes."""
    # Forked, so that imports and configs are there before the clock starts, as in a worker that has run a cell.
    context = multiprocessing.get_context("fork")
    next_cell, go, answers = context.Value("q", 0), context.Event(), context.Queue()
    processes = [
        context.Process(target=work, args=(chosen, next_cell, walk, go, answers), daemon=True) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    started = time.perf_counter()
    go.set()
    found = [answers.get() for _ in processes]
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    counts = sum((Counter(part) for part, _ in found), Counter())
    return {
        "seconds": round(seconds, 1),
        "cells_per_second": round(len(chosen) / seconds),
        "workers_cpu_seconds": round(sum(cpu for _, cpu in found), 1),
        "outcomes": dict(counts),
    }


def check(url: str, chosen: list[Any]) -> dict[str, int]:
    """What the registry and the records say: every cell done once, with its one score."""
    from plw.registry import Registry

    with Registry.open(url, create=False) as registry:
        rows = registry.stage_rows()
        scores = registry.score_values(study="plw", scale="mini")
    records = len(list(Path(chosen[0].execution.runs).glob("*/*/*/*/*/record.json")))
    once = sum(row.status == "done" and row.attempts == 1 for row in rows)
    return {"cells": len(chosen), "stages_done_once": once, "score_rows": len(scores), "records": records}


def main() -> None:
    """Start a server unless one is given, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--walk", action="store_true")
    parser.add_argument("--url", help="of an empty database; a server of its own when not given")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = chosen.url
        if url is None:
            from plw.testing.postgres import postgres

            url = stack.enter_context(postgres("bench", fsync=True)).url
        from plw.pipeline import resolve_cell
        from plw.registry import Registry

        cells = configs(url, folder, chosen.cells)
        started = time.perf_counter()
        with Registry.open(url) as registry:
            registry.ensure_cells(resolve_cell(config).row() for config in cells)
        print(json.dumps({"cells": len(cells), "seconds_to_write_them": round(time.perf_counter() - started, 1)}))
        print(json.dumps(run_all(cells, chosen.workers, chosen.walk)), flush=True)
        print(json.dumps(check(url, cells)))


if __name__ == "__main__":
    main()
