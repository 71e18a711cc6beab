"""Verdicts of grids that are not full: base models with fewer weights, or with one; each beside what is true of it."""

import re

import numpy as np
import pytest
from study_frames import frame_of

from analysis.inference.verdicts import ScopeVerdict, scope_verdicts
from analysis.inference.weight_curve import fit_curve
from analysis.report.verdict_text import dataset_sentences, study_sentences
from analysis.scores.frame import EXPONENT, TidyFrame

WEIGHTS = (0.0, 0.01, 0.1, 0.3, 1.0)
GENERATOR_SEED = 4


def jitter(benchmark: str, model: str, weight: float) -> float:
    """The same for the same cell and benchmark, of a standard deviation of a third of a point."""
    number = sum(map(ord, f"{benchmark}{model}{weight:g}"))
    return float(np.random.default_rng([GENERATOR_SEED, number]).normal(0, 0.003))


def rising(fewer: tuple[float, ...], models: tuple[str, ...] = ("a", "b", "c")) -> TidyFrame:
    """Every benchmark of every base model rises by 5 points; the last base model has fewer weights."""

    def rule(_: str, benchmark: str, model: str, weight: float, seed: int) -> float | None:
        if model == models[-1] and weight not in fewer:
            return None
        return 0.5 + 0.05 * weight**EXPONENT + jitter(benchmark, model, weight)

    return frame_of(rule, models=models, weights=WEIGHTS)


def group_of(verdicts: list[ScopeVerdict]) -> ScopeVerdict:
    (found,) = [verdict for verdict in verdicts if verdict.scope == "group"]
    return found


@pytest.mark.parametrize("fewer", [WEIGHTS[:3], WEIGHTS[:4], WEIGHTS[1:]])
def test_three_base_models_of_which_one_lacks_weights_have_a_curve(fewer: tuple[float, ...]) -> None:
    """All that is true is a rise; it was told as benchmarks that move both ways."""
    found = group_of(scope_verdicts(rising(fewer)))

    assert (found.over_bases, found.base_models) == (True, 3)
    assert (found.moved, found.direction) == (True, "up")
    assert found.change_low < 0.05 < found.change_high
    assert "both ways" not in study_sentences([found])


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_the_test_over_base_models_of_uneven_weights_holds_its_level(lacking: int) -> None:
    """Curves that differ by base model around a flat mean."""
    weights = [np.array(WEIGHTS) ** EXPONENT] * 2 + [np.array(WEIGHTS[: len(WEIGHTS) - lacking]) ** EXPONENT]
    base_N = [str(base) for base, w_M in enumerate(weights) for _ in w_M]
    w_N = np.concatenate(weights)
    p = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        slope_GC = generator.normal(0, 0.05, size=(3, 2))
        score_N = 0.5 + generator.normal(0, 0.01, size=len(w_N))
        score_N += np.array([slope_GC[int(base)] @ [w, w**2] for base, w in zip(base_N, w_N, strict=True)])
        p.append(fit_curve(score_N, w_N, base_N, base_N).p)

    assert np.mean(np.array(p) < 0.05) < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / len(p))


def test_base_models_of_one_weight_are_no_sample_of_curves() -> None:
    """A study that has only begun: with one whole base model and five of one weight the sign test said 2 * 0.5^6."""
    models = ("a", "b", "c", "d", "e", "f")

    def still(_: str, benchmark: str, model: str, weight: float, seed: int) -> float | None:
        return 0.5 + jitter(benchmark, model, weight) if model == "a" or weight == 0 else None

    weights = (0.0, 0.1, 1.0)
    found = scope_verdicts(frame_of(still, models=models, weights=weights))

    assert not any(verdict.moved for verdict in found)
    assert {(verdict.base_models, verdict.p) for verdict in found} == {(1, None)}
    alone = scope_verdicts(frame_of(still, models=models[:1], weights=weights))
    assert [verdict.excluded for verdict in found] == [verdict.excluded for verdict in alone]


def test_a_base_model_has_no_change_beyond_its_own_weights() -> None:
    """The parabola of one that was trained at three small weights says nothing of weight 1."""
    found = group_of(scope_verdicts(rising(WEIGHTS[:3])))

    assert {base.model: base.change is None for base in found.bases} == {"a": False, "b": False, "c": True}
    assert "(c)" not in dataset_sentences([found], "short")[0]


@pytest.mark.parametrize("moving", [{"arc": 0.1}, {"arc": 0.1, "piqa": -0.1}])
def test_benchmarks_move_both_ways_only_where_one_is_shown_to_fall(moving: dict[str, float]) -> None:
    benchmarks = ("arc", "piqa", "hella", "wino")

    def rule(_: str, benchmark: str, model: str, weight: float, seed: int) -> float:
        # What the others do by chance is so much that a rise of one is lost in the mean.
        chance = 0.0 if benchmark in moving else 15 * jitter(benchmark, model, weight)
        rise = moving.get(benchmark, 0.0) * weight**EXPONENT
        return 0.5 + rise + chance + jitter(benchmark, model, weight)

    found = scope_verdicts(frame_of(rule, benchmarks=benchmarks, weights=(0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)))
    said = study_sentences(found)

    assert group_of(found).opposed
    assert ("moving both ways, which cancels in its mean (" in said) is (len(moving) == 2)
    assert ("moving, but in its mean no change is shown (" in said) is (len(moving) == 1)
    assert re.search(r"arc up (9|10)\.\d", said)
