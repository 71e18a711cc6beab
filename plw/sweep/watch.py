"""A study seen live, from the registry: wherever its workers are, they write there how far they are.

Where some of its cells wait in a scheduler's queue, that is asked too, less often: it answers many people.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from plw.config import CellConfig
from plw.errors import RegistryAwayError
from plw.progress import count, duration
from plw.registry import Overview, Registry
from plw.registry.schema import DONE, FAILED, RUNNING
from plw.results.stage_state import StageState
from plw.sweep.drain import Drain, read_drain
from plw.sweep.status import heartbeat_age, status_view

SCREEN_S, LINES_S = 2.0, 60.0
"""Seconds between two looks: on a terminal, and elsewhere."""
QUEUE_S = 15.0
"""Seconds between two questions to a queue."""


@dataclass(frozen=True, kw_only=True)
class QueueLook:
    """What a scheduler's queue has of a study, in one line and for a screen."""

    line: str
    view: RenderableType


AskQueue = Callable[[], QueueLook | None]
"""None where the queue has nothing of the study."""


def watch_study(
    config: CellConfig, console: Console, every_s: float | None = None, ask_queue: AskQueue | None = None
) -> None:
    """Show the study until nothing of it is left, or it is drained and nothing of it runs.

    Where the console is no terminal, each look is a line for the study and one for each stage under way.

    Args:
        config: names the study and its registry.
        console: where a person reads.
        every_s: seconds between two looks; None: 2 on a terminal, 60 elsewhere.
        ask_queue: asks a scheduler's queue; None where there is no scheduler.

    Raises:
        UserError: there is no registry.
    """
    pause = every_s or (SCREEN_S if console.is_terminal else LINES_S)
    with Registry.open(config.registry.url, create=False) as registry:
        look = _Looker(config, registry, ask_queue)
        if not console.is_terminal:
            _follow(look, pause, lambda: console.print("\n".join(look.lines()), markup=False))
            return
        with Live(console=console, auto_refresh=False) as live:
            _follow(look, pause, lambda: live.update(look.view(), refresh=True))


class _Looker:
    """The last that the registry said; a registry that is away for a while ends nothing."""

    def __init__(self, config: CellConfig, registry: Registry, ask_queue: AskQueue | None = None) -> None:
        self._config = config
        self._ask_queue = ask_queue
        self._registry = registry
        self._away = ""
        self._queue: QueueLook | None = None
        self._asked = -QUEUE_S
        self.found = Overview(cells=0, stages={}, seconds={}, open=[], now=0.0)
        self.drain: Drain | None = None

    def look(self) -> None:
        try:
            self.found = self._registry.overview(study=self._config.study.name, scale=self._config.scale.name)
            self._away = ""
        except RegistryAwayError as error:
            self._away = str(error).partition(";")[0]
        self.drain = read_drain(self._config)
        if self._ask_queue is not None and time.monotonic() - self._asked >= QUEUE_S:
            self._queue = self._ask_queue()
            self._asked = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Nothing is left to see."""
        if self._away or self.found.of_status(RUNNING):
            return False
        return self.drain is not None or self.stages_left == 0

    @property
    def stages_left(self) -> int:
        """Stages that are not begun."""
        asked = self._config.stages
        return sum(max(0, self.found.cells - sum(self.found.of_kind(kind).values())) for kind in asked)

    def seconds_left(self) -> float | None:
        """At the mean time of each kind of stage, by as many workers as are at it now; None where that is not known."""
        found, total = self.found, 0.0
        for kind in self._config.stages:
            states = found.of_kind(kind)
            left = max(0, found.cells - states.get(DONE, 0) - states.get(FAILED, 0))
            mean = found.seconds.get(kind)
            if left and mean is None:
                return None
            total += left * (mean or 0.0)
        workers = found.of_status(RUNNING)
        return total / workers if total and workers else None

    def headline(self) -> str:
        found, asked = self.found, self._config.stages
        done = sum(found.of_kind(kind).get(DONE, 0) for kind in asked)
        words = [
            f"{self._config.runs_name}: {done}/{found.cells * len(asked)} stages of {count(found.cells, 'cell')} done",
            f"{found.of_status(RUNNING)} running",
            f"{found.of_status(FAILED)} failed",
        ]
        if (left := self.seconds_left()) is not None and self.drain is None:
            words.append(f"about {duration(left)} left at this pace")
        if self.drain is not None:
            words.append(self.drain.text)
        if self._away:
            words.append(self._away)
        return ", ".join(words)

    def lines(self) -> list[str]:
        stamp = datetime.now().astimezone().isoformat(timespec="seconds")
        said = [f"{stamp} {self.headline()}"]
        if self._queue is not None:
            said.append(f"  {self._queue.line}")
        for cell, row in self.found.open:
            if row.status == RUNNING:
                state = StageState.from_json(row.progress)
                words = "begun" if state is None else state.text
                age = heartbeat_age(row, self.found.now)
                heard = age if row.heartbeat is None else f"last heartbeat {age}"
                said.append(f"  {cell}: {row.kind} {words}, {row.holder}, {heard}")
        return said

    def view(self) -> Group:
        shown: list[RenderableType] = [Text(self.headline()), status_view(self._config, self.found, self.drain)]
        if self._queue is not None:
            shown.append(self._queue.view)
        return Group(*shown)


def _follow(look: _Looker, pause: float, show: Callable[[], None]) -> None:
    while True:
        look.look()
        show()
        if look.is_over:
            return
        time.sleep(pause)
