"""How far a grid is, in lines that a log file can hold: one for the grid and one for each cell under way."""

from dataclasses import dataclass, field
from time import monotonic


@dataclass(kw_only=True)
class _StageProgress:
    """A stage under way, from the first that was heard of it."""

    stage: str
    started: float
    first: int
    """Units that were done when it was first heard of: a continued stage starts in its middle."""
    done: int
    total: int
    note: str
    heard: float

    def line(self, now: float) -> str:
        """Stage, units, state and the time left at the rate so far."""
        words = [f"{self.stage} {self.done:,}/{self.total:,}"]
        if self.note:
            words.append(self.note)
        rate = (self.done - self.first) / max(self.heard - self.started, 1e-9)
        if rate > 0 and self.done < self.total:
            words.append(f"about {duration((self.total - self.done) / rate)} left")
        if now - self.heard >= SILENT_S:
            words.append(f"no word for {duration(now - self.heard)}")
        return ", ".join(words)


SILENT_S = 120.0
"""Seconds without news of a stage after which a line says so."""


def duration(seconds: float) -> str:
    """A length of time as a person says it: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


@dataclass(kw_only=True)
class ProgressLines:
    """What is known of a grid under way. Times are seconds of ``time.monotonic``."""

    name: str
    cells: int
    started: float = field(default_factory=lambda: monotonic())
    cells_done: int = 0
    under_way: dict[str, _StageProgress] = field(default_factory=dict)

    def moved(self, label: str, stage: str, done: int, total: int, note: str) -> None:
        """A cell's stage is ``done`` units of ``total``."""
        now = monotonic()
        known = self.under_way.get(label)
        if known is None or known.stage != stage or done < known.first:
            known = _StageProgress(stage=stage, started=now, first=done, done=done, total=total, note=note, heard=now)
            self.under_way[label] = known
        known.done, known.total, known.note, known.heard = done, total, note, now

    def ended(self, label: str) -> None:
        """A cell has no more to do here."""
        self.cells_done += 1
        self.under_way.pop(label, None)

    def cells_per_minute(self) -> float:
        """Rate since the start."""
        return 60 * self.cells_done / max(monotonic() - self.started, 1e-9)

    def lines(self) -> list[str]:
        """One line for the grid, then one for each cell under way."""
        now = monotonic()
        left = "time left is known once the first cell has ended"
        if self.cells_done:
            left = f"about {duration((self.cells - self.cells_done) * (now - self.started) / self.cells_done)} left"
        head = f"{self.name}: {self.cells_done}/{self.cells} cells after {duration(now - self.started)}, {left}"
        return [head, *(f"  {label}: {stage.line(now)}" for label, stage in sorted(self.under_way.items()))]
