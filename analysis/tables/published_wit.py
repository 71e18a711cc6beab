"""Tables of a grid over both weights: winners, fixed pairs, choices tested elsewhere, shares, near-replicates.

Each is of the published WIT grid unless another is given.
"""

from dataclasses import fields

import pandas as pd

from analysis.levels import CONFIDENCE
from analysis.published.wit_findings import (
    FixedCell,
    benchmark_shares,
    equal_ratio_scatter,
    fixed_cell,
    left_out_benchmarks,
    left_out_gains,
)
from analysis.published.wit_grid import (
    WeightGrid,
    best_fixed_pair,
    best_pairs,
    pairs,
    panels,
    published_grid,
    relative_gain,
)
from analysis.tables.table import Table, interval_text, number
from plw.errors import UserError
from plw.progress import count

SHOWN_PAIRS = 10


def pair_text(weights: tuple[float, float]) -> str:
    """(λ_p, λ_r) as the paper writes it; a dash where there is none."""
    return "–" if pd.isna(weights[0]) else f"({weights[0]:g}, {weights[1]:g})"


def winners_table(grid: WeightGrid | None = None) -> Table:
    """The best cell of each panel, by the average."""
    gain = (grid or published_grid()).gain
    raw = pd.DataFrame(
        [
            {"dataset": dataset, "model": model, "prompt_weight": pair[0], "response_weight": pair[1], "gain": value}
            for ((dataset, model), pair), value in zip(best_pairs(gain).items(), gain.max(axis=1), strict=True)
        ]
    )
    return Table(
        key="wit_winners",
        title="Best cell of each panel",
        raw=raw,
        shown=_with_pairs(raw, gain=1),
        caption="Percent over the usual loss (0, 1) of the same model and dataset. Each is the largest of "
        f"{gain.shape[1]} numbers, "
        "found and measured on the same run, so it is too large on average.",
    )


def fixed_pairs_table(grid: WeightGrid | None = None) -> Table:
    """Every pair as the one choice for all models and datasets, best first."""
    gain = (grid or published_grid()).gain
    raw = pd.DataFrame([vars(fixed_cell(gain, pair)) for pair in pairs(gain)])
    raw = raw.sort_values("mean", ascending=False, ignore_index=True)
    first = raw.head(SHOWN_PAIRS)
    shown = pd.DataFrame(
        {
            "(λ_p, λ_r)": [
                pair_text(pair) for pair in zip(first["prompt_weight"], first["response_weight"], strict=True)
            ],
            "mean": first["mean"].map(lambda value: number(value, 2)),
            "interval": [interval_text(low, high) for low, high in zip(first["low"], first["high"], strict=True)],
            "median": first["median"].map(lambda value: number(value, 2)),
            "above (0, 1)": [f"{wins} of {len(gain)}" for wins in first["wins"]],
        }
    )
    return Table(
        key="wit_fixed_pairs",
        title="One pair for every model and dataset",
        raw=raw,
        shown=shown,
        caption=f"Percent over (0, 1), mean and median of {count(len(gain), 'panel')}. {CONFIDENCE:.0%} interval "
        "of the mean with models and datasets drawn anew; that the first pair was chosen as the best of all is not in "
        f"it. The CSV has all {len(raw)} pairs.",
    )


def left_out_table(grid: WeightGrid | None = None) -> Table:
    """What the choice of a pair is worth where it was not made.

    Raises:
        UserError: there is one base model, one dataset and one benchmark.
    """
    grid = grid or published_grid()
    gain = grid.gain
    rows = []
    for level in ("model", "dataset"):
        if gain.index.get_level_values(level).nunique() < 2:
            continue
        of_panel = left_out_gains(gain, level)
        for name, values in of_panel.groupby(level=level):
            chosen = best_fixed_pair(gain[gain.index.get_level_values(level) != name])
            rows.append(_left_out(level, str(name), chosen, float(values.mean())))
    for row in left_out_benchmarks(grid.scores, grid.benchmarks):
        pair = (row["prompt_weight"], row["response_weight"])
        rows.append(_left_out("benchmark", row["benchmark"], pair, row["gain"]))
    if not rows:
        raise UserError(
            "a choice cannot be tested on what it was not made on: there is one base model, dataset, benchmark"
        )
    raw = pd.DataFrame(rows)
    return Table(
        key="wit_left_out",
        title="The choice, tested on what it was not made on",
        raw=raw,
        shown=_with_pairs(raw, gain=2),
        caption="The pair that is best on average without the model, dataset or benchmark, and its mean gain there, in "
        "percent over (0, 1). For a benchmark the others choose and it alone is measured.",
    )


def _left_out(what: str, name: str, pair: tuple[float, float], gain: float) -> dict[str, object]:
    return {"left out": what, "name": name, "prompt_weight": pair[0], "response_weight": pair[1], "gain": gain}


def shares_table(grid: WeightGrid | None = None) -> Table:
    """Which benchmark the gains come from, and the best single pair on each."""
    grid = grid or published_grid()
    shares = benchmark_shares(grid)
    rows = []
    for name in grid.benchmarks:
        gain = relative_gain(panels(grid.scores, name)).dropna()  # a panel whose usual loss scores 0 has none
        best = {} if gain.empty else vars(fixed_cell(gain, best_fixed_pair(gain)))
        rows.append({"benchmark": name, "share": shares[name]} | best)
    raw = pd.DataFrame(rows).reindex(columns=["benchmark", "share", *(field.name for field in fields(FixedCell))])
    shown = _with_pairs(raw.drop(columns=["low", "high"]), share=1, mean=2, median=2, wins=0)
    return Table(
        key="wit_shares",
        title="Where the gains come from",
        raw=raw,
        shown=shown,
        caption="share: percent of the summed gains of the panels' best cells that the benchmark brings. The other "
        "columns: the pair that is best on average on this benchmark alone, and its gain in percent over (0, 1).",
    )


def scatter_table(grid: WeightGrid | None = None) -> Table:
    """How far cells of equal ratio lie apart."""
    scatter = equal_ratio_scatter((grid or published_grid()).average)
    raw = scatter.groupby(level=["dataset", "model"]).agg(["mean", "size"]).reset_index()
    raw = raw.rename(columns={"mean": "scatter", "size": "groups"})
    return Table(
        key="wit_equal_ratio",
        title="Cells of equal ratio",
        raw=raw,
        shown=raw.assign(scatter=raw["scatter"].map(lambda value: number(value, 2)), groups=raw["groups"].astype(str)),
        caption="Relative standard deviation, in percent, of the average over cells of one λ_p / λ_r. AdamW without "
        "clipping does not feel the scale of the loss, so these cells repeat one training up to rounding and chance: "
        "a difference of this size between two cells is none. Where it is 0 they are one training to the digit, which "
        "tells nothing of chance.",
    )


def _with_pairs(raw: pd.DataFrame, **digits: int) -> pd.DataFrame:
    """The frame as text, both weights in one column, numbers with so many digits."""
    pairs = [pair_text(pair) for pair in zip(raw["prompt_weight"], raw["response_weight"], strict=True)]
    shown = (
        raw.assign(prompt_weight=pairs).drop(columns="response_weight").rename(columns={"prompt_weight": "(λ_p, λ_r)"})
    )
    return pd.DataFrame(
        {
            name: [number(value, digits[name]) if name in digits else str(value) for value in shown[name]]
            for name in shown
        }
    )
