"""The verdicts of the dataset of a study that is the most like another by its generation ratio."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.scores.frame import TidyFrame
from analysis.scores.sample import verdict_rows


@dataclass(frozen=True, kw_only=True)
class NearestVerdicts:
    """What a study says of each kind of benchmark on one of its datasets."""

    dataset: str
    r_g: float
    """Its generation ratio."""
    verdicts: Sequence[ScopeVerdict]

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {"dataset": self.dataset, "r_g": self.r_g, "verdicts": [verdict.to_dict() for verdict in self.verdicts]}


def nearest_verdicts(frame: TidyFrame, r_g: float) -> NearestVerdicts | None:
    """Those of the dataset whose generation ratio is the nearest by its logarithm; None where no ratio is known.

    Args:
        frame: The study's frame.
        r_g: The generation ratio that is asked for, above 0.
    """
    known = frame.rows.dropna(subset=["r_g"]).groupby("dataset")["r_g"].first()
    ratios = {str(dataset): float(value) for dataset, value in known.items() if value > 0}
    if not ratios:
        return None
    nearest = min(ratios, key=lambda dataset: (abs(log(ratios[dataset] / r_g)), dataset))
    # As the study's report has them.
    rows, _ = verdict_rows(frame.rows)
    rows = rows[rows["dataset"] == nearest]
    return NearestVerdicts(
        dataset=nearest, r_g=ratios[nearest], verdicts=scope_verdicts(replace(frame, rows=rows.reset_index(drop=True)))
    )
