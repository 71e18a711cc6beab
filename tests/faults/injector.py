"""Faults at moments that a seed chooses, in a study that goes on meanwhile; each is told with its time."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from plw.registry import StageRow
from tests.faults.commands import Command, Commands
from tests.faults.damage import damage
from tests.faults.judge import TRICKS, JudgeOutOfOrder
from tests.faults.outcome import damaged_folders, stage_rows
from tests.small_disk import fill

POLL_S = 0.02
TIMEOUT_S = 60.0
"""How long a fault waits for its moment."""
STANDSTILL_S = 10.0
"""Commands that all end within this time after a fault had no moment do nothing."""
MAX_TIMES = 10
TAKEN_OVER = "another worker has taken it over"
"""What a worker says whose claim is lost."""


class Database(Protocol):
    """What holds the registry, and can be away."""

    url: str

    def cut(self, seconds: float) -> str:
        """Be away for so long; what was done."""


@dataclass
class Injector:
    """One study's faults.

    Args:
        dice: From the seed.
        runs: The study's results.
        database: Of its registry.
        commands: That work on it.
        judge: That they ask.
        disk: That the results lie on, where it may be filled.
        lease_timeout_s: Of the commands' claims.
    """

    dice: random.Random
    runs: Path
    database: Database
    commands: Commands
    judge: JudgeOutOfOrder
    disk: Path | None
    lease_timeout_s: float
    made: Counter[str] = field(default_factory=Counter)
    """Kind of fault -> how often."""
    _started: float = field(default_factory=time.monotonic)

    def kinds(self) -> dict[str, Callable[[], str]]:
        """Name of a fault -> what makes it; that returns what was done, empty where there was no moment for it."""
        found = {
            "kill -9": self.kill,
            "stopped and resumed": self.stop_and_resume,
            "database away": self.cut_database,
            "damaged checkpoint": self.damage_checkpoint,
            "damaged record": lambda: self.damage_product("*", "record.json"),
            "damaged model": lambda: self.damage_product("train", "model/*.safetensors"),
            "damaged items": lambda: self.damage_product("*", "items.parquet"),
            "lost record": self.lose_record,
        }
        if self.disk is not None:
            found["disk full"] = self.fill_disk
        return found | {f"judge: {trick}": lambda trick=trick: self.confuse(trick) for trick in TRICKS}  # type: ignore[misc]

    def tell(self, line: str) -> None:
        """Say it, with the seconds since the beginning."""
        print(f"{time.monotonic() - self._started:8.2f} s  {line}", flush=True)

    def make(self, kind: str, times: int = 1) -> None:
        """Make a fault once its moment has come; a moment that has passed is waited for again, so many times in all."""
        for _ in range(times):
            self.commands.tend()
            done = self.kinds()[kind]()
            self.tell(f"{kind}: {done or 'no moment for it'}")
            self.made[kind] += bool(done)
            self.commands.tend()
            if done:
                return
            # Damage holds up what is left where every command ends soon after its start.
            if self._wait(lambda: not any(map(self.commands.runs, self.commands.all)), STANDSTILL_S):
                self.clear_up()
                self.commands.tend()

    def clear_up(self) -> bool:
        """Remove what `plw registry verify` says to remove, as a person would; whether it found nothing to say."""
        folders, lines = damaged_folders(self.runs, self.database.url)
        for line in lines:
            self.tell(f"verify: {line}")
        for folder in folders:
            self.tell(f"removed: {folder}")
            shutil.rmtree(folder)
        return not lines

    def kill(self) -> str:
        """A worker, wherever it is."""
        row = self._await_running()
        if row is None or row.pid is None:
            return ""
        with suppress(ProcessLookupError):
            os.kill(row.pid, signal.SIGKILL)
        return f"process {row.pid} at {row.name}"

    def stop_and_resume(self) -> str:
        """A worker that sleeps until another has its stage, or for twice the lease, and then wakes."""
        row = self._await_running()
        command = None if row is None or row.pid is None else self.commands.of(row.pid)
        if row is None or row.pid is None or command is None or not _signal(row.pid, signal.SIGSTOP):
            return ""
        lost_before = command.said().count(TAKEN_OVER)
        taken = self._wait(lambda: self._is_taken(row), 2 * self.lease_timeout_s + 10)
        self._pause(0, 1)
        if not _signal(row.pid, signal.SIGCONT):
            return ""
        if not taken:
            return f"process {row.pid} at {row.name}, which nobody took over"
        if self._wait(lambda: self._has_noticed(command, lost_before)):
            self.made["claim lost"] += command.said().count(TAKEN_OVER) > lost_before
        return f"process {row.pid} at {row.name}, which another worker took over"

    def cut_database(self) -> str:
        """The registry, for some seconds."""
        return self.database.cut(self.dice.uniform(0.5, 3))

    def damage_checkpoint(self) -> str:
        """The newest checkpoint of a worker that is killed."""
        found: list[Path] = []

        def is_there() -> bool:
            self.commands.tend()
            found[:] = sorted(self.runs.rglob("checkpoints/step-*/*"))
            return bool(found)

        row = next((row for row in self._running() if row.kind == "train"), None)
        if row is None:
            self.lose_record("train")
        if not self._wait(is_there):
            return ""
        rows = [row for row in self._running() if row.kind == "train" and row.pid is not None]
        stopped = [row.pid for row in rows if row.pid is not None and _signal(row.pid, signal.SIGSTOP)]
        # What was seen may be gone by now: a newer one is there, or the training has ended.
        found = [path for path in sorted(self.runs.rglob("checkpoints/step-*/*")) if path.stat().st_size]
        newest = max((int(path.parent.name.removeprefix("step-")) for path in found), default=0)
        chosen = [path for path in found if path.parent.name == f"step-{newest}"]
        what = f"{self._place(path)} {damage(path, self.dice)}" if chosen and (path := self.dice.choice(chosen)) else ""
        for pid in stopped:
            _signal(pid, signal.SIGKILL)
        return what

    def damage_product(self, stage: str, name: str) -> str:
        """A file that a finished stage has left."""
        found = [path for path in self._await_finished(stage, name) if path.stat().st_size]
        if not found:
            return ""
        path = self.dice.choice(found)
        return f"{self._place(path)} {damage(path, self.dice)}"

    def lose_record(self, stage: str = "*") -> str:
        """As by a hand that slips."""
        found = self._await_finished(stage, "record.json")
        if not found:
            return ""
        path = self.dice.choice(found)
        path.unlink(missing_ok=True)
        return f"{self._place(path)} removed"

    def fill_disk(self) -> str:
        """To the last byte, until a command has ended of it or some seconds are over."""
        assert self.disk is not None
        if self._await_running() is None:
            return ""
        lives = sum(len(command.codes) for command in self.commands.all)
        filler = fill(self.disk)
        size = filler.stat().st_size
        ended = self._wait(lambda: lives < self._lives(), self.dice.uniform(1, 5))
        filler.unlink()
        return f"{size:,} bytes written{', which ended a command' if ended else ''}"

    def confuse(self, trick: str) -> str:
        """The judge, for some requests."""
        requests = self.dice.randrange(1, 7)
        self.judge.play(trick, requests)
        return f"{requests} replies to come"

    def let_play(self) -> None:
        """Until the judge has answered wrongly as often as it was told to; where nobody asks it, work is lost."""
        for _ in range(MAX_TIMES):
            if self._wait(self._has_played, 10):
                return
            self.tell(f"{self.judge.to_come} wrong replies to come; {self.lose_record('judge-*')}")

    def _has_played(self) -> bool:
        self.commands.tend()
        return self.judge.to_come == 0

    def _lives(self) -> int:
        for command in self.commands.all:
            self.commands.runs(command)
        return sum(len(command.codes) for command in self.commands.all)

    def _has_noticed(self, command: Command, lost_before: int) -> bool:
        return not self.commands.runs(command) or command.said().count(TAKEN_OVER) > lost_before

    def _is_taken(self, stopped: StageRow) -> bool:
        self.commands.tend()
        same = [row for row in stage_rows(self.database.url) if (row.cell, row.name) == (stopped.cell, stopped.name)]
        return all(row.token != stopped.token for row in same)

    def _running(self) -> list[StageRow]:
        """Stages that a process of the commands works on now."""
        rows = [row for row in stage_rows(self.database.url) if row.status == "running" and row.pid is not None]
        return [row for row in rows if row.pid is not None and self.commands.of(row.pid) is not None]

    def _await_running(self) -> StageRow | None:
        """A stage under way; a record is lost where all are done."""
        found: list[StageRow] = []

        def is_there() -> bool:
            self.commands.tend()
            found[:] = self._running()
            return bool(found)

        if not self._wait(is_there, 15):
            self.tell(f"nothing left to do; {self.lose_record()}")
            self._wait(is_there)
        return self.dice.choice(found) if found else None

    def _await_finished(self, stage: str, name: str) -> list[Path]:
        """Files of finished stages, once there are any."""

        def is_there() -> bool:
            self.commands.tend()
            return bool(self._finished(stage, name))

        return self._finished(stage, name) if self._wait(is_there) else []

    def _finished(self, stage: str, name: str) -> list[Path]:
        stages = [record.parent for record in sorted(self.runs.glob(f"*/*/*/*/{stage}/record.json"))]
        return [path for folder in stages for path in sorted(folder.glob(name))]

    def _place(self, path: Path) -> str:
        return str(path.relative_to(self.runs))

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self.dice.uniform(least, most))

    @staticmethod
    def _wait(moment: Callable[[], bool], seconds: float = TIMEOUT_S) -> bool:
        deadline = time.monotonic() + seconds
        while not moment():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _signal(pid: int, number: int) -> bool:
    """Send a signal; whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
