"""How far a grid is, in lines that a log file can hold: one for the grid and one for each cell under way."""

from dataclasses import dataclass, field
from time import monotonic

from plw.progress import Pace, duration
from plw.results.stage_state import SILENT_S


@dataclass(kw_only=True)
class _StageUnderWay:
    stage: str
    pace: Pace
    note: str
    over: bool = False

    def line(self, now: float) -> str:
        """Stage, units, state and the time left at the rate so far."""
        if self.over:
            return f"{self.stage} is over, the next stage begins"
        words = [f"{self.stage} {self.pace.done:,}/{self.pace.total:,}"]
        if self.note:
            words.append(self.note)
        if (left := self.pace.seconds_left) is not None:
            words.append(f"about {duration(left)} left")
        if now - self.pace.heard >= SILENT_S:
            words.append(f"no word for {duration(now - self.pace.heard)}")
        return ", ".join(words)


@dataclass(kw_only=True)
class ProgressLines:
    """What is known of a grid under way. Times are seconds of ``time.monotonic``."""

    name: str
    cells: int
    started: float = field(default_factory=lambda: monotonic())
    cells_done: int = 0
    under_way: dict[str, _StageUnderWay] = field(default_factory=dict)

    def moved(self, label: str, stage: str, done: int, total: int, note: str) -> None:
        """A cell's stage is ``done`` units of ``total``."""
        now = monotonic()
        known = self.under_way.get(label)
        if known is None or known.stage != stage or known.over:
            self.under_way[label] = _StageUnderWay(stage=stage, pace=Pace.begin(done, total, now), note=note)
            return
        known.pace.move(done, total, now)
        known.note = note

    def stage_ended(self, label: str, stage: str) -> None:
        """A cell's stage is over; what it said last says nothing of the next one."""
        known = self.under_way.get(label)
        if known is not None and known.stage == stage:
            known.over = True

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
