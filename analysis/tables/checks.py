"""Tables on how far the regression can be trusted: residual checks, sensitivity to open choices, power."""

from collections.abc import Mapping

import pandas as pd

from analysis.inference.residuals import ResidualChecks
from analysis.scores.datasets import dataset_order
from analysis.tables.table import Table, p_value, significant


def residual_table(checks: Mapping[str, ResidualChecks]) -> Table:
    """The checks of every dataset's regression, a row a check."""
    raw = pd.concat([found.checks.assign(dataset=name) for name, found in checks.items()], ignore_index=True)
    raw = raw[["dataset", "check", "statistic", "p", "meaning"]]
    shown = raw[["check", "meaning"]].drop_duplicates().rename(columns={"meaning": "a small p means"})
    for name in dataset_order(checks):
        of_dataset = raw[raw["dataset"] == name].set_index("check")["p"]
        shown[f"{name}, p"] = [p_value(of_dataset.get(check)) for check in shown["check"]]
    first = next(iter(checks.values()))
    given = "given the random effects" if first.conditional else "with random effects drawn anew"
    caption = (
        f"Simulation-based checks of the regressions of Table 3, {given}; {first.draws} simulated studies. A p-value "
        "is of the statistic among those of the simulated studies; with so many checks a few below 0.05 are expected."
    )
    return Table(key="residuals", title="Checks of the regression", raw=raw, shown=shown, caption=caption)


def power_table(frames: Mapping[str, pd.DataFrame]) -> Table:
    """The power by size of study; one frame of ``power`` for each dataset."""
    raw = pd.concat([frame.assign(dataset=name) for name, frame in frames.items()], ignore_index=True)
    raw = raw[["dataset", *(name for name in raw if name != "dataset")]]
    shown = raw[["dataset", "seeds", "benchmarks", "scores"]].astype(str)
    shown["power (error)"] = [f"{p:.2f} ({e:.2f})" for p, e in zip(raw["power_f"], raw["error"], strict=True)]
    shown["by Wald"] = [f"{p:.2f}" for p in raw["power_wald"]]
    shown["by likelihood ratio"] = [f"{p:.2f}" for p in raw["power_lrt"]]
    if list(frames) == [""]:
        shown = shown.drop(columns="dataset")
    caption = (
        f"Share of {raw['studies'].iloc[0]} simulated studies a row that find p < 0.05, for an effect of the fitted "
        "size; in brackets the Monte Carlo standard error. The first column of power is by the F test that holds its "
        "level with few benchmarks; Wald's chi-square test rejects too often there, so its power is flattered. The "
        "fitted size of an effect is itself uncertain, and after a significant result it is on average too large."
    )
    return Table(key="power", title="Power by size of study", raw=raw, shown=shown, caption=caption)


def sensitivity_table(frame: pd.DataFrame) -> Table:
    """The verdicts side by side, as the paper's choices would have it or not."""
    shown = frame[["dataset", "squeeze", "polynomial"]].copy()
    shown["p (Wald)"] = [p_value(p) for p in frame["p"]]
    shown["p (F)"] = [p_value(p) for p in frame["p_f"]]
    shown["p (likelihood ratio)"] = [p_value(p) for p in frame["p_lrt"]]
    shown["λ*"] = [
        "–" if pd.isna(top) else f"{significant(top)} ({significant(low)} to {significant(high)})"
        for top, low, high in zip(frame["optimum"], frame["low"], frame["high"], strict=True)
    ]
    shown["fit"] = [part if isinstance(part, str) else "none" for part in frame["random_part"]]
    caption = (
        "Table 3 under the choices that the paper leaves open: how scores of 0 and 1 are brought inside the beta "
        "distribution, and raw or orthogonal polynomials (two models here, since the random slopes have no intercept). "
        "λ* with its 95% interval, where the curve has a top between 0 and 1."
    )
    return Table(key="sensitivity", title="Sensitivity of the verdict", raw=frame, shown=shown, caption=caption)
