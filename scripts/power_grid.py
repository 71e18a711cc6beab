"""How to spend a study's cells: power of the verdicts by number of base models and of weights, from a pilot study.

    python scripts/power_grid.py runs --cells 54 --studies 1000

The pilot gives, for each kind of benchmark of each dataset: the mean curve; how far base models differ from it (the
covariance of their own curves, less what the noise of cells puts into it); and the noise of a cell. The noise is what
is left of the scores beside a curve of each base model's own or, where three weights leave nothing, of one curve for
all in the dataset whose curves differ least. Simulated studies have other base models and other noise. Their verdicts
are those of the report: the test over base models, corrected over the kinds of a dataset (Holm).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.arrays import Array, covariance_root
from analysis.inference.weight_curve import fit_curve
from analysis.items.compare import holm
from analysis.levels import SIGNIFICANCE
from analysis.scores.frame import EXPONENT
from analysis.scores.study import read_study, study_frame
from plw.commands.choice import chosen_cell

WEIGHTS = {
    2: (0.0, 1.0),
    3: (0.0, 0.1, 1.0),
    4: (0.0, 2.463e-2, 2.463e-1, 1.0),
    5: (0.0, 1e-2, 1e-1, 5e-1, 1.0),
    10: (0.0, 5e-4, 2.236e-3, 1e-2, 2.463e-2, 5e-2, 1e-1, 2.463e-1, 5e-1, 1.0),
}
"""Of the paper's ten, as evenly spaced on w_p as they allow."""


class Pilot:
    """What one kind of benchmark of one dataset does in the pilot: mean curve, its spread over bases, noise."""

    def __init__(self, table_AW: pd.DataFrame, noise: float) -> None:
        w_W = np.array(table_AW.columns, dtype=float)
        power_WC = np.stack([w_W**0, w_W, w_W**2], axis=1)
        curve_AC = table_AW.to_numpy() @ np.linalg.pinv(power_WC).T
        self.level = float(curve_AC[:, 0].mean())
        self.slope_C = curve_AC[:, 1:].mean(axis=0)
        self.noise = noise
        of_noise = noise**2 * np.linalg.inv(power_WC.T @ power_WC)[1:, 1:]
        value, vector = np.linalg.eigh(np.cov(curve_AC[:, 1:].T) - of_noise)
        self.root_CC = covariance_root((vector * np.maximum(value, 0)) @ vector.T)

    def p(self, generator: np.random.Generator, bases: int, w_W: Array) -> float:
        """P of one simulated study's curve."""
        slope_AC = self.slope_C + generator.normal(size=(bases, 2)) @ self.root_CC.T
        score_AW = self.level + slope_AC @ np.stack([w_W, w_W**2]) + generator.normal(0, self.noise, (bases, len(w_W)))
        names = [str(base) for base in range(bases) for _ in w_W]
        curve = fit_curve(score_AW.ravel(), np.tile(w_W, bases), names, names)
        return 1.0 if curve is None else curve.p


def tables(runs: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """(dataset, kind) -> mean score, a row a base model and a column a w_p."""
    config = chosen_cell(
        ["study=plw", "scale=mini", f"execution.runs={runs}", f"registry.url=sqlite:///{runs}/registry.sqlite"]
    )
    rows = study_frame(read_study(config.registry.url, runs, study="plw", scale="mini")).rows
    return {
        (str(dataset), str(group)): part.pivot_table(index="model", columns="w_p", values="score01").dropna()
        for (dataset, group), part in rows.groupby(["dataset", "group"])
    }


def noises(found: dict[tuple[str, str], pd.DataFrame]) -> dict[str, float]:
    """Kind -> standard deviation of a cell's score beside the curves."""
    least: dict[str, float] = {}
    for (_, group), table in found.items():
        w_W = np.array(table.columns, dtype=float)
        basis_WC = np.stack([w_W**0, w_W, w_W**2], axis=1)
        score_AW = table.to_numpy()
        own = len(w_W) > 3
        if own:
            left_AW = score_AW - score_AW @ np.linalg.pinv(basis_WC).T @ basis_WC.T
            freedom = len(score_AW) * (len(w_W) - 3)
        else:
            left_AW = score_AW - score_AW.mean(axis=1, keepdims=True)
            left_AW = left_AW - left_AW.mean(axis=0)
            freedom = (len(score_AW) - 1) * (len(w_W) - 1)
        least[group] = min(least.get(group, np.inf), float(np.sqrt((left_AW**2).sum() / freedom)))
    return least


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the pilot's runs folder")
    parser.add_argument("--cells", type=int, default=54, help="cells there is time for, all datasets together")
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies a design")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = tables(options.runs.absolute())
    noise = noises(found)
    pilots = {key: Pilot(table, noise[key[1]]) for key, table in found.items()}
    datasets = list(dict.fromkeys(dataset for dataset, _ in pilots))
    each = options.cells // len(datasets)
    print("| weights x base models | cells | " + " | ".join(f"{d}: {g.replace('_', ' ')}" for d, g in pilots) + " |")
    print("| --- | ---: |" + " ---: |" * len(pilots))
    for count, weights in WEIGHTS.items():
        bases = each // count
        if bases < 2:
            continue
        w_W = np.array(weights) ** EXPONENT
        shares = dict.fromkeys(pilots, 0.0)
        for number in range(options.studies):
            generator = np.random.default_rng([options.seed, count, number])
            for dataset in datasets:
                keys = [key for key in pilots if key[0] == dataset]
                corrected = holm([pilots[key].p(generator, bases, w_W) for key in keys])
                for key, p in zip(keys, corrected, strict=True):
                    shares[key] += (p < SIGNIFICANCE) / options.studies
        told = " | ".join(f"{share:.2f}" for share in shares.values())
        print(f"| {count} x {bases} | {count * bases * len(datasets)} | {told} |", flush=True)


if __name__ == "__main__":
    main()
