"""What a judge's comparison of two answers is: the pair, the verdicts, and the win rate made from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plw.config.judge import JudgeConfig
from plw.errors import StageError, UnreadableError
from plw.results.score import Score, mean_and_error

WIN, DRAW, LOSS = 1.0, 0.5, 0.0
"""Points of a verdict, from the side of the evaluated model."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One instruction with the evaluated model's answer and the reference answer that it is compared with."""

    instruction: str
    input: str = ""
    answer: str
    reference: str
    where: str = ""
    """Benchmark and row, for messages."""

    @property
    def task(self) -> str:
        """Instruction and input as one text, for protocols that know no input."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge said of one pair."""

    points: float | None
    """1 the model wins, 0.5 draw, 0 the reference wins; ``None`` where the judge's words could not be read."""
    replies: tuple[str, ...]
    """The judge's raw words, one for each order in which it saw the pair; empty where it was not asked."""
    unread: tuple[str, ...] = ()
    """Those of the replies that could not be read; of two that make a verdict one may be."""
    conflict: bool = False
    """The judge named the same position in both orders."""


@dataclass(frozen=True, kw_only=True)
class PairwiseResult:
    """Win rate of one model over a set of pairs."""

    win_rate: float
    """100 x mean points over the readable verdicts."""
    stderr: float | None
    """Standard error of the win rate, 100 x sample standard deviation / sqrt(n); ``None`` for fewer than two."""
    n: int
    """Readable verdicts: the denominator of the win rate."""
    n_total: int
    """Pairs that were judged."""
    unparsed: int
    """Pairs whose verdict could not be read: ``n_total - n``."""
    wins: int
    draws: int
    losses: int
    conflicts: int | None
    """Pairs in which the judge named the same position in both orders; ``None`` for a protocol with one order."""
    verdicts: list[Verdict]
    cut: int | None = None
    """Prompts longer than the judge's context, which lost their beginning; ``None`` where a server sees to it."""
    library_version: str | None = None

    def scores(self, suite: str, benchmark: str, judge: JudgeConfig) -> list[Score]:
        """The win rate (headline) and the counts behind it as score rows."""
        counts = {"wins": self.wins, "draws": self.draws, "losses": self.losses, "unparsed": self.unparsed}
        if self.conflicts is not None:
            counts["conflicts"] = self.conflicts
        if self.cut is not None:
            counts["cut"] = self.cut
        shared: dict[str, Any] = {
            "suite": suite,
            "benchmark": benchmark,
            "judge": judge.name,
            "judge_version": judge.version,
            "library_version": self.library_version,
        }
        headline = Score(
            metric="win_rate",
            value=self.win_rate,
            stderr=self.stderr,
            n=self.n,
            headline=True,
            higher_is_better=True,
            **shared,
        )
        return [headline] + [
            Score(metric=name, value=float(count), n=self.n_total, **shared) for name, count in counts.items()
        ]


def win_rate(
    verdicts: Sequence[Verdict],
    judge: JudgeConfig,
    *,
    both_orders: bool,
    cut: int | None = None,
    library_version: str | None = None,
) -> PairwiseResult:
    """Count verdicts into a win rate; draws count half.

    Raises:
        UnreadableError: no verdict, or too few of them by ``judge.max_unparsed``, could be read.
        StageError: there is no verdict at all.
    """
    points = [verdict.points for verdict in verdicts if verdict.points is not None]
    n, n_total = len(points), len(verdicts)
    unparsed = n_total - n
    if n_total and (n == 0 or unparsed / n_total > judge.max_unparsed):
        raise UnreadableError.quoting(
            f"judge {judge.name}: {unparsed} of {n_total} verdicts cannot be read "
            f"({unparsed / n_total:.1%}, allowed {judge.max_unparsed:.1%})",
            [reply for verdict in verdicts for reply in verdict.unread],
        )
    if not n_total:
        raise StageError(f"judge {judge.name}: no pairs to judge")
    mean, stderr = mean_and_error(points)
    return PairwiseResult(
        win_rate=100 * mean,
        stderr=None if stderr is None else 100 * stderr,
        n=n,
        n_total=n_total,
        unparsed=unparsed,
        wins=sum(value > DRAW for value in points),
        draws=sum(value == DRAW for value in points),
        losses=sum(value < DRAW for value in points),
        conflicts=sum(verdict.conflict for verdict in verdicts) if both_orders else None,
        verdicts=list(verdicts),
        cut=cut,
        library_version=library_version,
    )
