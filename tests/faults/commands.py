"""The commands that walk one grid side by side, each started again when it ends before the study is done."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.e2e.conftest import environment

START_S = 120.0


class Program(Protocol):
    """How a command is started."""

    def start(self, words: Sequence[str], log: Path) -> int:
        """Start ``plw`` with these words in a process group of its own, its output in a file; the process."""

    def code(self, pid: int) -> int | None:
        """How it ended; None while it runs."""

    def close(self) -> None:
        """End whatever still runs."""


class Installed:
    """The installed program, which pays for its imports each time."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, words: Sequence[str], log: Path) -> int:
        """As ``Program`` says."""
        command = [sys.executable, "-m", "plw", *words]
        with log.open("ab") as file:
            started = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, env=environment()
            )
        self._running[started.pid] = started
        return started.pid

    def code(self, pid: int) -> int | None:
        """As ``Program`` says."""
        return self._running[pid].poll()

    def close(self) -> None:
        """As ``Program`` says."""
        for pid, process in self._running.items():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            process.wait()


class Warm:
    """Forks of one process that has imported everything: see ``tests/faults/warm.py``."""

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment() | {"OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = line.split()
            with self._news:
                if words[0] == "started":
                    self._started.append(int(words[1]))
                elif words[0] == "ended":
                    self._codes[int(words[1])] = int(words[2])
                self._news.notify_all()

    def start(self, words: Sequence[str], log: Path) -> int:
        """As ``Program`` says."""
        assert self._process.stdin is not None
        with self._news:
            before = len(self._started)
            self._process.stdin.write(json.dumps({"words": list(words), "log": str(log)}) + "\n")
            self._process.stdin.flush()
            assert self._news.wait_for(lambda: len(self._started) > before, START_S), "no process was forked"
            return self._started[-1]

    def code(self, pid: int) -> int | None:
        """As ``Program`` says."""
        with self._news:
            return self._codes.get(pid)

    def close(self) -> None:
        """As ``Program`` says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()


@dataclass
class Command:
    """One of the commands, over all its lives."""

    name: str
    words: tuple[str, ...]
    log: Path
    pid: int = 0
    codes: list[int] = field(default_factory=list)
    """How its lives ended."""

    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Commands:
    """Several commands on one grid.

    Args:
        program: How they are started.
        words: Of each.
        folder: Of their logs.
    """

    def __init__(self, program: Program, words: Sequence[Sequence[str]], folder: Path) -> None:
        self._program = program
        folder.mkdir(parents=True, exist_ok=True)
        self.all = [
            Command(f"command {number}", tuple(of_one), folder / f"command-{number}.log")
            for number, of_one in enumerate(words, start=1)
        ]

    def tend(self) -> None:
        """Start whichever does not run."""
        for command in self.all:
            if not self.runs(command):
                command.pid = self._program.start(command.words, command.log)

    def runs(self, command: Command) -> bool:
        """Whether it runs now; notes how it ended."""
        if command.pid == 0:
            return False
        code = self._program.code(command.pid)
        if code is None:
            return True
        command.codes.append(code)
        command.pid = 0
        return False

    def wait(self, seconds: float) -> None:
        """Until all have ended.

        Raises:
            AssertionError: one has not, in that time.
        """
        deadline = time.monotonic() + seconds
        while any(map(self.runs, self.all)):
            assert time.monotonic() < deadline, "\n".join(command.said()[-3000:] for command in self.all)
            time.sleep(0.1)

    def of(self, pid: int) -> Command | None:
        """The command in whose process group a process is."""
        with suppress(ProcessLookupError):
            group = os.getpgid(pid)
            return next((command for command in self.all if command.pid == group), None)
        return None
