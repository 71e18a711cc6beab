"""The direction without the scale: scores by λ_p / λ_r alone, and whether the magnitude matters beside it.

Training on the prompt alone (λ_r = 0) has no ratio and is left out.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.arrays import Array
from analysis.inference.weight_curve import SAMPLE_OF_BASES
from analysis.inference.weight_regions import cell_error
from analysis.items.compare import holm
from analysis.levels import SIGNIFICANCE, TAILS
from analysis.published.wit_grid import WeightGrid, on_responses, pairs, prompt_share
from plw.errors import UserError
from plw.progress import count

MAGNITUDE_PERMUTATIONS, MAGNITUDE_SEED = 4999, 0
SAME = 1e-12
"""Mean square, in percent, below which scores are equal but for rounding."""


@dataclass(frozen=True, kw_only=True)
class RatioGain:
    """Cells of one λ_p / λ_r together, against those with λ_p = 0. Gains in percent of the latter's average."""

    ratio: float
    share: float
    """λ_p / (λ_p + λ_r)."""
    cells: int
    """Of one panel."""
    mean: float
    low: float
    high: float
    p_holm: float
    """Of no gain, corrected for the ratios looked at."""

    @property
    def shown(self) -> bool:
        """Whether the ratio is shown to differ from λ_p = 0."""
        return self.p_holm < SIGNIFICANCE


@dataclass(frozen=True, kw_only=True)
class RatioGains:
    """Every ratio above 0, and what its interval is over."""

    rows: tuple[RatioGain, ...]
    over: str
    excluded: float
    """The largest change, either way and at any ratio, that the data allow; for all ratios together (Bonferroni)."""


@dataclass(frozen=True, kw_only=True)
class MagnitudeTest:
    """F test of cells within equal ratios: do cells that differ in magnitude alone differ in the same way everywhere?

    ``p_permuted`` is of the same statistic with the cells of one ratio exchanged within each panel, which assumes no
    distribution of the scores.
    """

    f: float
    df1: int
    df2: int
    p: float
    p_permuted: float
    ratios: int
    """Ratios with two or more cells."""
    panels: int
    spread: float
    """Standard deviation of the cells' mean effects within ratios, in percent, less what chance alone makes."""

    identical: bool
    """Whether cells of one ratio have the same scores in every panel."""

    @property
    def shown(self) -> bool:
        """Whether the magnitude is shown to matter."""
        return self.p_permuted < SIGNIFICANCE


def ratio_gains(grid: WeightGrid) -> RatioGains:
    """Gains of every ratio over λ_p = 0.

    Three base models or more are a sample: t over their means. Fewer are not; the interval is then of these base models
    and over the error of a cell (``cell_error``).

    Raises:
        UserError: no cell with λ_p = 0, no other ratio, or no error.
    """
    average = on_responses(grid.average)
    share_C = prompt_share(average)
    if not (share_C == 0).any() or (share_C == 0).all():
        raise UserError("scores by ratio need cells with λ_p = 0 and cells with λ_p above 0; here are not both")
    usual_P = average.loc[:, share_C == 0].mean(axis=1)
    shares = [float(share) for share in np.unique(share_C) if share > 0]
    columns = pairs(average)
    gain_PW = np.stack(
        [100 * (average.loc[:, share_C == share].mean(axis=1) / usual_P - 1) for share in shares], axis=1
    )
    models = average.index.get_level_values("model").to_numpy()
    size_W = np.array([(share_C == share).sum() for share in shares])
    of_model_MW = np.stack([gain_PW[models == model].mean(axis=0) for model in dict.fromkeys(models)])
    if len(of_model_MW) >= SAMPLE_OF_BASES:
        error_W = of_model_MW.std(axis=0, ddof=1) / np.sqrt(len(of_model_MW))
        df, over = float(len(of_model_MW) - 1), f"over {len(of_model_MW)} base models as a sample (t)"
    else:
        error = cell_error(grid)
        per_cell = float(np.sqrt((error.deviation_P[average.index] ** 2).mean() / len(average)))
        error_W = per_cell * np.sqrt(1 / size_W + 1 / (share_C == 0).sum())
        df = error.df * len(average)
        over = f"of {count(len(of_model_MW), 'base model')} alone, by {error.source}"
    mean_W = gain_PW.mean(axis=0)
    reach_W = stats.t.ppf(TAILS[1], df) * error_W
    p_W = 2 * stats.t.sf(np.abs(_ratio(mean_W, error_W)), df)
    rows = [
        RatioGain(
            ratio=next(
                prompt / response for (prompt, response), own in zip(columns, share_C, strict=True) if own == share
            ),
            share=share,
            cells=int(size),
            mean=float(mean),
            low=float(mean - reach),
            high=float(mean + reach),
            p_holm=p,
        )
        for share, size, mean, reach, p in zip(shares, size_W, mean_W, reach_W, holm(p_W), strict=True)
    ]
    together = stats.t.ppf(1 - SIGNIFICANCE / 2 / len(shares), df)
    excluded = float((np.abs(mean_W) + together * error_W).max())
    return RatioGains(rows=tuple(rows), over=over, excluded=excluded)


def _ratio(value_W: Array, error_W: Array) -> Array:
    """Value by error; infinite where there is no error, 0 where there is neither."""
    made_W: Array = np.divide(value_W, error_W, out=np.full_like(value_W, np.inf), where=error_W > 0)
    made_W[value_W == 0] = 0
    return made_W


def magnitude_test(grid: WeightGrid) -> MagnitudeTest:
    """Whether the magnitude of both weights matters beside their ratio, on average over panels.

    Raises:
        UserError: no ratio has two cells, or there is one panel only.
    """
    average = on_responses(grid.average)
    share_C = prompt_share(average)
    several = [share for share in np.unique(share_C) if (share_C == share).sum() > 1]
    if not several:
        raise UserError("whether the magnitude matters cannot be tested: no two pairs of weights have one ratio")
    if len(average) < 2:
        raise UserError(
            "whether the magnitude matters cannot be tested in one panel: that a cell differs could be chance alone"
        )
    score_PC = (100 * average.div(average.mean(axis=1), axis=0)).to_numpy(dtype=float)
    groups = [score_PC[:, share_C == share] for share in several]
    within = [cells_PC - cells_PC.mean(axis=1, keepdims=True) for cells_PC in groups]
    df1 = sum(cells_PC.shape[1] - 1 for cells_PC in groups)
    df2 = df1 * (len(score_PC) - 1)
    total = float(sum((cells_PC**2).sum() for cells_PC in within))
    cells = float(_cells_square([cells_PC[None] for cells_PC in within])[0])
    generator = np.random.default_rng(MAGNITUDE_SEED)
    drawn_Z = _cells_square(
        [generator.permuted(np.tile(cells_PC, (MAGNITUDE_PERMUTATIONS, 1, 1)), axis=2) for cells_PC in within]
    )
    identical = total < SAME * len(score_PC) * (df1 + df2)
    noise = (total - cells) / df2
    f = 0.0 if identical else (cells / df1) / noise
    return MagnitudeTest(
        f=float(f), df1=df1, df2=df2, p=float(stats.f.sf(f, df1, df2)),
        p_permuted=float(((drawn_Z >= cells * (1 - 1e-9)).sum() + 1) / (len(drawn_Z) + 1)),
        ratios=len(several), panels=len(score_PC), identical=identical,
        spread=float(np.sqrt(max(cells / df1 - noise, 0.0) / len(score_PC))),
    )  # fmt: skip


def _cells_square(within: list[Array]) -> Array:
    """[Z]: sums of squares of the cells' means over panels.

    ``within`` are deviations from each panel's mean of a ratio, an array [Z, P, C] for each.
    """
    square_Z: Array = sum(part_ZPC.shape[1] * (part_ZPC.mean(axis=1) ** 2).sum(axis=1) for part_ZPC in within)
    return square_Z


def by_ratio(average: pd.DataFrame) -> pd.DataFrame:
    """Means over cells of one ratio, a column a share of the prompt; λ_r = 0 is left out."""
    kept = on_responses(average)
    return kept.T.groupby(prompt_share(kept)).mean().T
