"""A response surface over both weights: a parabola in λ_p and λ_r, with benchmarks, base models and datasets random.

Every benchmark of every panel is a unit with a level of its own and with the grid's pairs, so the design is balanced:
each unit's surface is found by least squares, and the mixed model of the units' coefficients

    b_u = β + benchmark + base model + dataset + e_u

is that of a balanced crossed layout. β is the mean, its covariance comes from the mean squares (the REML estimate where
no component is 0; components below 0 are left out, Amemiya 1985). A factor of three levels or more is a sample of all
that there could be; one of fewer is not, and what is said is of these levels alone. Pairs with λ_r = 0 are left out:
the fall to training on the prompt alone would bend any parabola.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from analysis.arrays import Array, covariance_root
from analysis.inference.weight_curve import SAME_SCORE, SAMPLE_OF_BASES
from analysis.levels import CONFIDENCE, TAILS
from analysis.published.wit_grid import CONVENTIONAL, LossWeights, WeightGrid, on_responses, pairs, panels
from plw.errors import UserError

TERMS_OF_SURFACE = 5
"""λ_p, λ_r, their squares and their product; the level is each unit's own."""
SURFACE_PLACES = 21
"""On each axis, at which the surface is looked at."""
SURFACE_DRAWS, SURFACE_SEED = 4000, 0
RANDOM_FACTORS = ("benchmark", "dataset", "model")
UNWEIGHTED = (1.0, 1.0)
"""(λ_p, λ_r) of the loss on all tokens alike."""


@dataclass(frozen=True, kw_only=True)
class SurfaceGain:
    """Points (of 100) by which the surface at its top lies above one pair."""

    over: LossWeights
    gain: float
    low: float
    high: float
    """95 % interval at this place, as if it had been named before."""
    low_chosen: float
    high_chosen: float
    """95 % simultaneous over all places, which allows for the top's being chosen."""
    excluded: float
    """Gains above it are excluded wherever on the surface."""


@dataclass(frozen=True, kw_only=True)
class WeightSurface:
    """A fitted surface."""

    scope: str
    units: int
    samples: tuple[str, ...]
    """Factors that count as samples, with their numbers of levels, in words."""
    slope_C: Array
    covariance_CC: Array
    df: float
    lowest: LossWeights
    """The smallest λ_p and λ_r of the pairs."""
    highest: LossWeights
    explained: float
    """Share of the variance of the pairs' means over units that the surface explains."""

    @cached_property
    def places_M2(self) -> Array:
        """[M, 2]: λ_p and λ_r of the places that are looked at."""
        axes = [np.linspace(low, high, SURFACE_PLACES) for low, high in zip(self.lowest, self.highest, strict=True)]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)

    @cached_property
    def value_M(self) -> Array:
        """Points over the usual loss (0, 1), at ``places_M2``."""
        value_M: Array = (surface_terms(self.places_M2) - surface_terms(np.array([CONVENTIONAL]))) @ self.slope_C
        return value_M

    @property
    def top(self) -> LossWeights:
        """Where the surface is highest."""
        return self._place(int(self.value_M.argmax()))

    @cached_property
    def tops_Z2(self) -> Array:
        """[Z, 2]: where surfaces drawn around the fitted one are highest."""
        drawn_ZC = self.slope_C + self._noise_ZC
        highest_Z = (drawn_ZC @ surface_terms(self.places_M2).T).argmax(axis=1)
        tops_Z2: Array = self.places_M2[highest_Z]
        return tops_Z2

    def interval(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of the top's λ_p, λ_r, and prompt's share of both."""
        share_Z = self.tops_Z2[:, 0] / self.tops_Z2.sum(axis=1)
        values = {"λ_p": self.tops_Z2[:, 0], "λ_r": self.tops_Z2[:, 1], "share": share_Z}
        made = {}
        for name, value_Z in values.items():
            low, high = np.quantile(value_Z, TAILS, method="nearest")
            made[name] = (float(low), float(high))
        return made

    def gain_over(self, weights: LossWeights) -> SurfaceGain:
        """How far the top lies above a pair."""
        contrast_MC = surface_terms(self.places_M2) - surface_terms(np.array([weights]))
        gain_M = contrast_MC @ self.slope_C
        error_M = np.sqrt(np.maximum(np.einsum("mc,cd,md->m", contrast_MC, self.covariance_CC, contrast_MC), 0))
        known_M = error_M > 1e-12
        noise_ZM = np.abs(self._noise_ZC @ contrast_MC[known_M].T) / error_M[known_M]
        everywhere = float(np.quantile(noise_ZM.max(axis=1), CONFIDENCE)) if known_M.any() else 0.0
        here, top = float(stats.t.ppf(TAILS[1], self.df)), int(gain_M.argmax())
        gain, error = float(gain_M[top]), float(error_M[top])
        return SurfaceGain(
            over=weights, gain=gain, low=gain - here * error, high=gain + here * error,
            low_chosen=gain - everywhere * error, high_chosen=gain + everywhere * error,
            excluded=float((gain_M + everywhere * error_M).max()),
        )  # fmt: skip

    @cached_property
    def _noise_ZC(self) -> Array:
        generator = np.random.default_rng(SURFACE_SEED)
        normal_ZC = generator.standard_normal((SURFACE_DRAWS, TERMS_OF_SURFACE))
        tail_Z1 = np.sqrt(self.df / generator.chisquare(self.df, (SURFACE_DRAWS, 1)))
        noise_ZC: Array = normal_ZC @ covariance_root(self.covariance_CC).T * tail_Z1
        return noise_ZC

    def _place(self, number: int) -> LossWeights:
        prompt, response = self.places_M2[number]
        return float(prompt), float(response)


def surface_terms(weights_N2: Array) -> Array:
    """[N, 5]: λ_p, λ_r, λ_p^2, λ_p λ_r and λ_r^2."""
    prompt_N, response_N = weights_N2.T
    return np.stack([prompt_N, response_N, prompt_N**2, prompt_N * response_N, response_N**2], axis=1)


def fit_weight_surface(grid: WeightGrid, benchmarks: Sequence[str], scope: str) -> WeightSurface:
    """The surface of some benchmarks' scores.

    Args:
        grid: Complete, as ``WeightGrid`` is.
        benchmarks: Those that are fitted.
        scope: What they are called.

    Raises:
        UserError: the pairs do not determine the surface, one unit alone leaves no error, or no score varies.
    """
    tables = [on_responses(panels(grid.scores, name)) for name in benchmarks]
    columns = pairs(tables[0])
    term_CC = surface_terms(np.array(columns))
    design = np.column_stack([np.ones(len(columns)), term_CC])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise UserError(
            f"a response surface needs {TERMS_OF_SURFACE + 1} pairs of weights with λ_r above 0 that do not lie on a "
            f"line; the {len(columns)} here do not determine it"
        )
    if len(tables) * len(tables[0]) < 2:
        raise UserError("a response surface of one benchmark in one panel has no error; it needs two of either")
    score_UN = np.concatenate([table.to_numpy(dtype=float) for table in tables])
    if np.ptp(score_UN, axis=1).max() < 100 * SAME_SCORE:
        raise UserError("a response surface has no top where the scores of all pairs are the same")
    coefficient_UC = (np.linalg.pinv(design) @ score_UN.T).T[:, 1:]
    labels = pd.concat([table.index.to_frame(index=False) for table in tables], ignore_index=True)
    labels = labels.assign(benchmark=np.repeat(list(benchmarks), len(tables[0])))
    covariance_CC, df, samples = crossed_covariance(coefficient_UC, labels, term_CC - term_CC.mean(axis=0))
    mean_N = score_UN.mean(axis=0)
    slope_C = coefficient_UC.mean(axis=0)
    left_N = mean_N - mean_N.mean() - (term_CC - term_CC.mean(axis=0)) @ slope_C
    total = float(((mean_N - mean_N.mean()) ** 2).sum())
    prompts, responses = np.array(columns).T
    return WeightSurface(
        scope=scope, units=len(score_UN), samples=samples, slope_C=slope_C, covariance_CC=covariance_CC, df=df,
        lowest=(float(prompts.min()), float(responses.min())), highest=(float(prompts.max()), float(responses.max())),
        explained=1 - float((left_N**2).sum()) / total if total > 0 else 0.0,
    )  # fmt: skip


def crossed_covariance(
    coefficient_UC: Array, labels: pd.DataFrame, weigh_NC: Array
) -> tuple[Array, float, tuple[str, ...]]:
    """Covariance of the mean over units of a balanced crossed layout, its degrees of freedom, and what is a sample.

    Args:
        coefficient_UC: Of each unit.
        labels: Columns ``benchmark``, ``dataset`` and ``model``, a row a unit.
        weigh_NC: Directions over which the degrees of freedom (Satterthwaite's) are averaged.
    """
    units = len(coefficient_UC)
    centred_UC = coefficient_UC - coefficient_UC.mean(axis=0)
    left_UC, left_df = centred_UC.copy(), units - 1
    squares: dict[str, tuple[Array, int]] = {}
    samples = []
    for factor in RANDOM_FACTORS:
        names = labels[factor].unique()
        effect_GC = np.stack([centred_UC[(labels[factor] == name).to_numpy()].mean(axis=0) for name in names])
        left_UC -= effect_GC[pd.Index(names).get_indexer(labels[factor])]
        left_df -= len(names) - 1
        if len(names) >= SAMPLE_OF_BASES:
            squares[factor] = (units / len(names) * effect_GC.T @ effect_GC / (len(names) - 1), len(names) - 1)
            samples.append(f"{len(names)} {'base models' if factor == 'model' else f'{factor}s'}")
    if left_df < 1:  # a layout of one factor: its levels are the only repetition
        left_UC, left_df, squares = centred_UC, units - 1, {}
    error_CC = left_UC.T @ left_UC / left_df
    covariance_CC, parts = error_CC.copy(), [(error_CC, left_df)]
    for square_CC, df in squares.values():
        added_CC = _above(square_CC, error_CC)
        covariance_CC += added_CC
        parts.append((added_CC, df))
    # The error's mean square is known by many units, so a component has about the degrees of freedom of its own square.
    size = np.array([np.einsum("nc,cd,nd->", weigh_NC, part_CC, weigh_NC) for part_CC, _ in parts])
    spread = float((size**2 / np.array([df for _, df in parts])).sum())
    together = float(size.sum() ** 2 / spread) if spread > 0 else float(left_df)
    return covariance_CC / units, together, tuple(samples)


def _above(square_CC: Array, error_CC: Array) -> Array:
    """The part of a mean square that lies above the error's, in no direction below 0."""
    value_C, vector_CC = np.linalg.eigh(error_CC)
    known_C = value_C > 1e-12 * max(1e-12, float(value_C.max()))
    if not known_C.any():
        return square_CC
    root_CP = vector_CC[:, known_C] * np.sqrt(value_C[known_C])
    inverse_PC = (vector_CC[:, known_C] / np.sqrt(value_C[known_C])).T
    own_P, direction_PP = np.linalg.eigh(inverse_PC @ square_CC @ inverse_PC.T)
    lifted_CP = root_CP @ direction_PP
    above_CC: Array = lifted_CP * np.maximum(own_P - 1, 0) @ lifted_CP.T
    return above_CC
