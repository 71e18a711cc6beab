"""A run tracker beside the registry: wandb, offline unless a key is set. What it shows is never read back.

A tracker never fails or holds up a stage: all its calls run one after the other in a thread of its own, what goes wrong
there is told in one warning, and a server that cannot be used is left alone from then on.
"""

import logging
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from plw.config import TrackerConfig
from plw.config.checks import one_of
from plw.results.score import Score

INIT_TIMEOUT_S = 15.0
"""Seconds until a run that cannot be opened on the server is written offline."""
FINISH_TIMEOUT_S = 60.0
"""Seconds that the end of a cell waits for what the tracker has not sent yet."""
SERVER_TIMEOUT_S = 10.0
"""Seconds that the server has to answer before the first cell."""
MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""wandb's words for a mode -> what is done."""
SENT_LATER = "; runs are kept offline in the cells' folders (`wandb sync FOLDER` sends them later)"

logger = logging.getLogger(__name__)

_outage: Any = None


class Tracker(Protocol):
    """One cell's run."""

    def step(self, row: dict[str, Any]) -> None:
        """Show one training step's row."""

    def scores(self, scores: list[Score]) -> None:
        """Show scores in the run's summary."""

    def close(self) -> None:
        """Write out what is left."""


class NoTracker:
    """Shows nothing."""

    def step(self, row: dict[str, Any]) -> None:
        """Nothing to show it on."""

    def scores(self, scores: list[Score]) -> None:
        """Nothing to show them on."""

    def close(self) -> None:
        """Nothing is open."""


class WandbTracker:
    """One wandb run; its id is the cell's, so a cell that is continued continues its run."""

    def __init__(self, *, mode: str, folder: Path, **about: Any) -> None:
        self._run: Any = None
        self._broken = not _imported()
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()
        self._calls.put(lambda: self._open(mode, folder, about))

    def step(self, row: dict[str, Any]) -> None:
        """Log the row's numbers at its step; missing ones are left out."""
        values = {key: value for key, value in row.items() if value is not None and key != "step"}
        self._calls.put(lambda: self._run.log(values, step=row["step"]))

    def scores(self, scores: list[Score]) -> None:
        """Headline scores as ``benchmark``, the others as ``benchmark/metric``."""
        named = {
            score.benchmark if score.headline else f"{score.benchmark}/{score.metric}": score.value for score in scores
        }
        self._calls.put(lambda: self._run.summary.update(named))

    def close(self) -> None:
        """Finish the run; what takes too long goes on behind the next cell, as long as the process lives."""
        self._calls.put(lambda: self._run.finish())
        self._calls.put(None)
        self._thread.join(timeout=FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            _stay_offline(f"a run was not finished within {FINISH_TIMEOUT_S:g} s; its cell goes on")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._broken:
                continue
            try:
                call()
            except Exception as error:
                self._broken = True
                _stay_offline(_first_line(error))

    def _open(self, mode: str, folder: Path, about: dict[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"dir": str(folder), **about}
        options["settings"] = wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            init_timeout=INIT_TIMEOUT_S,
        )
        if mode == "online":
            try:
                self._run = wandb.init(mode="online", resume="allow", **options)
                return
            except Exception as error:
                _stay_offline(_first_line(error))
        self._run = wandb.init(mode="offline", **options)


def _imported() -> bool:
    """Import wandb in the caller's thread: Python 3.11 may fail where two threads compile at once (gh-106905)."""
    try:
        import wandb  # noqa: F401
    except Exception as error:
        _stay_offline(_first_line(error))
        return False
    return True


def open_tracker(choice: TrackerConfig, **about: Any) -> Tracker:
    """The tracker that the config names.

    Args:
        choice: which one and how.
        about: ``folder`` of the cell, and wandb's own ``id``, ``name``, ``group`` and ``config`` of a run.
    """
    mode = tracker_mode(choice)
    if mode == "disabled":
        return NoTracker()
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbTracker(mode=mode, project=choice.project, **about)


def tracker_mode(config: TrackerConfig) -> str:
    """``online``, ``offline`` or ``disabled``; the environment's WANDB_MODE comes first.

    Raises:
        UserError: WANDB_MODE is no mode of wandb's.
    """
    if config.name == "none":
        return "disabled"
    mode = os.environ.get("WANDB_MODE") or config.mode
    one_of("WANDB_MODE", mode, ("auto", *MODES))
    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") else "offline"
    if MODES[mode] == "online" and outage().value:
        return "offline"
    return MODES[mode]


@dataclass
class _Outage:
    """The number of a process without workers."""

    value: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get_lock(self) -> threading.Lock:
        return self.lock


def outage() -> Any:
    """A number, 1 once the tracker has failed: the first process of a grid that sees it tells it."""
    global _outage
    if _outage is None:
        _outage = _Outage()
    return _outage


def outage_of_workers() -> Any:
    """The same, such that workers can share it.

    For them alone: the lock of a shared number has a process that watches it. The signal that tells a Slurm job that
    its time is up ends that one too, and the job's log would end with its traceback.
    """
    global _outage
    if isinstance(outage(), _Outage):
        _outage = multiprocessing.get_context("spawn").Value("b", outage().value)
    return _outage


def share_outage(value: Any) -> None:
    """Take the ``outage`` of the process that started this one for our own."""
    global _outage
    _outage = value


def check_tracker(config: TrackerConfig) -> None:
    """Ask the server once whether it takes our runs; where it does not, this process and its workers stay offline."""
    outage().value = 0
    if tracker_mode(config) != "online":
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        problem = _server_problem()
    except Exception as error:
        problem = _first_line(error)
    if problem is not None:
        _stay_offline(problem)


def _server_problem() -> str | None:
    import httpx
    import wandb

    settings = wandb.setup().settings
    key = settings.api_key or ""
    answer = httpx.post(
        f"{settings.base_url}/graphql",
        json={"query": "query { viewer { id } }"},
        auth=("api", key),
        timeout=SERVER_TIMEOUT_S,
    )
    known = answer.status_code == httpx.codes.OK and (answer.json().get("data") or {}).get("viewer")
    return None if known else f"{settings.base_url} does not take the key (status {answer.status_code})"


def _stay_offline(problem: str) -> None:
    shared = outage()
    with shared.get_lock():
        told, shared.value = bool(shared.value), 1
    if not told:
        logger.warning("wandb cannot be used online (%s)%s", problem, SENT_LATER)
    # Workers that are started from here, and later cells, do not try again.
    os.environ["WANDB_MODE"] = "offline"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
