"""Where a stage under way stands, as its worker writes it into the registry and others read it there."""

import json
import math
from dataclasses import asdict, dataclass
from threading import Lock
from time import monotonic
from typing import Self

from plw.progress import Pace, duration

SILENT_S = 120.0
"""Seconds without news of a stage after which it is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageState:
    """One look at a stage."""

    done: int
    """Units done: optimizer steps, requests, answers, verdicts."""
    total: int
    note: str = ""
    loss: float | None = None
    """Weighted training loss of the last step, nats a token."""
    tokens_per_second: float | None = None
    seconds_left: float | None = None
    """At the rate so far; None where none is known yet."""
    silent_s: float = 0.0
    """Seconds since the work said something last."""

    def to_json(self) -> str:
        """As the registry keeps it."""
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({name: value for name, value in plain.items() if _is_writable(value)}, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """What a worker wrote; None where it wrote nothing, or is of a version that writes otherwise."""
        try:
            return None if text is None else cls(**json.loads(text))
        except (ValueError, TypeError):
            return None

    @property
    def text(self) -> str:
        """Units, state and time left on one line."""
        said = [f"{self.done:,}/{self.total:,}", self.note]
        if self.seconds_left is not None:
            said.append(f"about {duration(self.seconds_left)} left")
        if self.silent_s >= SILENT_S:
            said.append(f"no word for {duration(self.silent_s)}")
        return ", ".join(filter(None, said))


def _is_writable(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


class StateKeeper:
    """What the work of one stage said last; told by the work's thread, asked by the heartbeat's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pace: Pace | None = None
        self._note = ""
        self._loss: float | None = None
        self._tokens_per_second: float | None = None

    def begin(self) -> None:
        """A stage begins: nothing is known of it yet."""
        with self._lock:
            self._pace, self._note, self._loss, self._tokens_per_second = None, "", None, None

    def move(self, done: int, total: int, note: str) -> None:
        """The work is ``done`` units of ``total``."""
        with self._lock:
            if self._pace is None:
                self._pace = Pace.begin(done, total, monotonic())
            else:
                self._pace.move(done, total, monotonic())
            self._note = note

    def measure(self, loss: float | None, tokens_per_second: float | None) -> None:
        """What the last step of training measured."""
        with self._lock:
            self._loss, self._tokens_per_second = loss, tokens_per_second

    def look(self) -> StageState | None:
        """The state now; None where the work has said nothing yet."""
        with self._lock:
            if self._pace is None:
                return None
            return StageState(
                done=self._pace.done,
                total=self._pace.total,
                note=self._note,
                loss=self._loss,
                tokens_per_second=self._tokens_per_second,
                seconds_left=self._pace.seconds_left,
                silent_s=monotonic() - self._pace.heard,
            )
