"""Worker processes that run cells one after another, so that imports are paid once a worker and not once a cell.

Workers are started by ``spawn`` (CUDA and threads survive nothing else) and end with their parent. A worker that dies
is replaced; the cell that it was on counts a crash and is tried again, until its attempts are used up. The cells beside
it go on from where they were, and count none.
"""

import dataclasses
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any

from plw.config import CellConfig
from plw.config.study import ExecutionConfig
from plw.errors import UserError
from plw.launch.process_end import end_with_parent
from plw.pipeline import Cell, CellOutcome, JudgeCache, Report, open_registry, run_cell
from plw.pipeline.tracking import outage_of_workers, share_outage
from plw.registry import Registry
from plw.runtime.interrupt import Interrupted, handle_as_worker, undeferred
from plw.runtime.logs import configure_logging
from plw.runtime.machine import DEVICES, MIG, available_cores, check_gpu_count, device_shares, free_memory, visible_gpus
from plw.runtime.memory import collect_rarely
from plw.sweep.dead_workers import CHECKPOINT_TIMEOUT_S, Seats, crashed_cells, end_beside_a_dead_one

MAX_WORKERS = 8
"""On a machine without GPUs, unless asked for more: each holds torch and the harnesses in memory, about 1 GB."""

LISTENER_TIMEOUT_S = 5.0

_report: Report | None = None
_judges = JudgeCache()
_registry: Registry | None = None
"""The judge and the open registry that this worker holds over its cells; they end with the process."""
_seats: Seats = []
_slot = 0


def run_cells(
    cells: list[Cell], *, workers: int, report: Report, may_begin: Callable[[], bool]
) -> Iterator[tuple[Cell, CellOutcome]]:
    """Run every cell, several at a time, and yield each with its outcome as they come.

    Args:
        cells: as they were planned.
        workers: cells at once.
        report: told of every stage's progress.
        may_begin: asked before each cell; once it says no, none is begun, and those left are not yielded.
    """
    cells = [dataclasses.replace(cell, config=_with_threads(cell.config, workers)) for cell in cells]
    if workers == 1:
        _limit_threads(cells[0].config.execution.thread_count)
        _lock_bars_here()
        with JudgeCache() as judges, open_registry(cells[0].config) as registry:
            for cell in cells:
                if not may_begin():
                    return
                yield cell, run_cell(cell, report, judges, registry)
        return
    left = dict(enumerate(cells))
    crashes: Counter[int] = Counter()
    while left and may_begin():
        for number, outcome in _run_until_broken(left, workers, report, may_begin):
            if outcome is None:
                crashes[number] += 1
                if crashes[number] < left[number].config.execution.max_attempts:
                    continue
                outcome = CellOutcome.worker_died(left[number])
            yield left.pop(number), outcome


def _run_until_broken(
    cells: dict[int, Cell], workers: int, report: Report, may_begin: Callable[[], bool]
) -> Iterator[tuple[int, CellOutcome | None]]:
    """Outcomes until all are in or none may be begun, or a worker dies: then ``None`` for the cell that it was on."""
    context = multiprocessing.get_context("spawn")
    events: Queue[Any] = context.Queue()
    listener = threading.Thread(target=_forward, args=(events, report), daemon=True)
    listener.start()
    seats: Seats = context.RawArray("q", 2 * workers)
    pool = worker_pool(next(iter(cells.values())).config.execution, workers, events, seats)
    processes: set[BaseProcess] = set()
    under_way: dict[Future[CellOutcome], int] = {}
    waiting = list(cells.items())
    try:
        # Only as many cells as workers are handed out, so that a broken pool tells which cells were under way.
        while waiting or under_way:
            if not may_begin():
                waiting.clear()
            while waiting and len(under_way) < workers:
                number, cell = waiting.pop(0)
                under_way[pool.submit(_run_in_worker, cell, number)] = number
            if not under_way:
                break
            if started := set(multiprocessing.active_children()) - processes:
                processes |= started
                # The pool looks at the processes that it has when a task comes, and starts one for it after that: of
                # the last one started, which may die, it would know only when a cell ends.
                pool.submit(_no_work)
            future = next(as_completed(under_way))
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                # Before its cell is taken out of those under way: it counts a crash as well.
                raise error
            # A worker that was stopped alone counts as one that died.
            yield under_way.pop(future), None if isinstance(error, Interrupted) else future.result()
        # A worker that is only just starting would find its queues gone, and print a traceback.
        pool.shutdown()
    except BrokenProcessPool:
        crashed = crashed_cells(processes, seats, list(under_way.values()))
        end_beside_a_dead_one(processes, seats)
        for number in crashed:
            yield number, None
    except Interrupted:
        # Trainings make a checkpoint at their next step; a second signal ends the wait.
        try:
            for process in multiprocessing.active_children():
                process.terminate()
            wait(under_way, timeout=CHECKPOINT_TIMEOUT_S)
        finally:
            _kill_children()
        raise
    except BaseException:
        _kill_children()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        events.put(None)
        # A worker that was killed while it wrote may have left the queue locked for good.
        events.cancel_join_thread()
        listener.join(timeout=LISTENER_TIMEOUT_S)


def worker_pool(execution: ExecutionConfig, workers: int, events: "Queue[Any]", seats: Seats) -> ProcessPoolExecutor:
    """Processes that each have their devices and threads before anything heavy is imported.

    Args:
        execution: of every cell.
        workers: processes.
        events: gets what the cells report.
        seats: of so many workers.
    """
    context = multiprocessing.get_context("spawn")
    slots: Queue[int] = context.Queue()
    for slot in range(workers):
        slots.put(slot)
    return ProcessPoolExecutor(
        max_workers=workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(
            *(events, slots, seats, execution.thread_count),
            *(gpu_shares(execution), os.getpid(), outage_of_workers()),
        ),
    )


def _kill_children() -> None:
    for process in multiprocessing.active_children():
        process.kill()


def _start_worker(
    events: "Queue[Any]",
    slots: "Queue[int]",
    seats: Seats,
    threads: int,
    shares: list[list[str]],
    parent: int,
    tracker_outage: Any,
) -> None:
    global _report, _seats, _slot
    collect_rarely()
    share_outage(tracker_outage)
    handle_as_worker(deferring=True)
    configure_logging()
    end_with_parent(parent)
    _seats, _slot = seats, slots.get()
    if shares:
        # Torch, which reads this once, is not imported yet. More workers than shares take turns on them.
        os.environ[DEVICES] = ",".join(shares[_slot % len(shares)])
    _limit_threads(threads)
    _lock_bars_here()
    _report = lambda *event: events.put(event)  # noqa: E731


def _lock_bars_here() -> None:
    """By itself tqdm makes a lock between processes: a semaphore, with a process to watch it. One that is killed leaves
    a warning or a traceback of that behind, and Slurm's signals end the watcher before all else.
    """
    import tqdm  # type: ignore[import-untyped]

    tqdm.tqdm.set_lock(threading.RLock())


def _limit_threads(threads: int) -> None:
    """Fix the thread count: it decides the order of sums, so the last digits of results."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Where the checks before the first cell have brought torch in already, it no longer reads the environment.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _no_work() -> None:
    """A task that makes the pool look at its processes again."""


def _run_in_worker(cell: Cell, number: int) -> CellOutcome:
    global _registry
    assert _report is not None
    _seats[2 * _slot : 2 * _slot + 2] = [os.getpid(), number]
    try:
        with undeferred():
            if _registry is None:
                _registry = open_registry(cell.config)
            return run_cell(cell, _report, _judges, _registry)
    finally:
        _seats[2 * _slot + 1] = ~number


def _forward(events: "Queue[Any]", report: Report) -> None:
    while (event := events.get()) is not None:
        report(*event)


def worker_count(config: CellConfig) -> int:
    """Workers for this machine: as configured, else as many as its GPUs serve, else its cores and memory, at most 8.

    Without GPUs, a judge from weights is held once.
    """
    if config.execution.workers is not None:
        return config.execution.workers
    each = config.execution.processes
    if cell_gpus(config.execution):
        return max(1, len(gpu_shares(config.execution)))
    if config.judge.kind == "weights" and config.stages == ["judge"]:
        # Each worker would hold the judge's weights in the one memory.
        return 1
    threads = config.execution.threads if isinstance(config.execution.threads, int) else 1
    of_cell = config.execution.cell_memory_gib
    fit = MAX_WORKERS if of_cell is None else int(free_memory() / (of_cell * 2**30))
    return max(1, min(MAX_WORKERS, fit, available_cores() // (threads * each)))


def cell_gpus(execution: ExecutionConfig) -> list[str]:
    """The GPUs that cells run on; none where they run on the CPU."""
    return [] if execution.device == "cpu" else visible_gpus()


def computes_on_cores(execution: ExecutionConfig) -> bool:
    """Whether cells compute on this machine's cores; not where CUDA is asked for and absent, which is a mistake."""
    return execution.device != "cuda" and not cell_gpus(execution)


def gpu_shares(execution: ExecutionConfig) -> list[list[str]]:
    """The GPUs of each cell under way."""
    return device_shares(cell_gpus(execution), execution.processes)


def check_devices(execution: ExecutionConfig) -> None:
    """Refuse cells of more processes than this machine has GPUs for.

    Raises:
        UserError: there are GPUs, but too few, or slices of which a process can use one and a group none.
    """
    gpus = cell_gpus(execution)
    if not gpus or execution.processes == 1:
        return
    check_gpu_count(execution.processes, len(gpus))
    if any(name.startswith(MIG) for name in gpus):
        raise UserError(
            f"execution.processes={execution.processes}: MIG slices ({DEVICES}) cannot work together; allowed: "
            "execution.processes=1, which gives each cell a slice"
        )


def _with_threads(config: CellConfig, workers: int) -> CellConfig:
    """The config with a number of threads: the cores shared out among the cells at once, where none was asked for."""
    execution = config.execution
    if isinstance(execution.threads, int):
        return config
    threads = cell_threads(config, workers)
    return dataclasses.replace(config, execution=dataclasses.replace(execution, threads=threads))


def cell_threads(config: CellConfig, workers: int) -> int:
    """Threads of one process of a cell with so many cells at once."""
    execution = config.execution
    if isinstance(execution.threads, int):
        return execution.threads
    return max(1, available_cores() // (workers * execution.processes))
