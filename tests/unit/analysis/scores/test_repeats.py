"""Seeds that are one training under several names count once in the verdicts."""

import numpy as np
from study_frames import frame_of

from analysis.inference.verdicts import scope_verdicts
from analysis.scores.repeats import repeated_seeds, without_repeats

WEIGHTS = (0.0, 0.1, 1.0)
BENCHMARKS = ("arc", "piqa", "hella", "wino")


def chance(benchmark: str, model: str, weight: float, seed: int) -> float:
    number = sum(map(ord, f"{benchmark}{model}{weight:g}"))
    return 0.5 + float(np.random.default_rng([number, seed]).normal(0, 0.01))


def frame(repeats: bool, seeds: tuple[int, ...] = (1, 2, 3)):
    return frame_of(
        lambda _, benchmark, model, weight, seed: chance(benchmark, model, weight, 1 if repeats else seed),
        weights=WEIGHTS, benchmarks=BENCHMARKS, seeds=seeds,
    )  # fmt: skip


def test_seeds_that_repeat_another_are_found_with_the_one_that_they_repeat() -> None:
    found = repeated_seeds(frame(repeats=True).rows)

    assert [*found.itertuples(index=False, name=None)] == [
        ("short", model, seed, 1) for model in ("deep", "wide") for seed in (2, 3)
    ]
    assert set(without_repeats(frame(repeats=True).rows)["seed"]) == {1}


def test_a_benchmark_that_never_varies_hides_no_repeat() -> None:
    def rule(_: str, benchmark: str, model: str, weight: float, seed: int) -> float:
        return 0.5 if benchmark == "arc" else chance(benchmark, model, weight, 1)

    found = repeated_seeds(frame_of(rule, weights=WEIGHTS, benchmarks=BENCHMARKS, seeds=(1, 2)).rows)
    assert found["of"].tolist() == [1, 1]


def test_seeds_of_their_own_stay() -> None:
    rows = frame(repeats=False).rows

    assert repeated_seeds(rows).empty
    assert without_repeats(rows) is rows


def test_few_scores_and_scores_that_never_vary_are_no_repeats() -> None:
    few = frame_of(lambda _, benchmark, model, weight, seed: 0.5 + 0.1 * weight, weights=WEIGHTS, seeds=(1, 2))
    still = frame_of(lambda *_: 0.5, weights=WEIGHTS, benchmarks=BENCHMARKS, seeds=(1, 2))

    assert repeated_seeds(few.rows).empty
    assert repeated_seeds(still.rows).empty


def test_verdicts_of_repeats_are_those_of_one_seed() -> None:
    """Three times the same chance was three times the evidence."""
    assert scope_verdicts(frame(repeats=True)) == scope_verdicts(frame(repeats=False, seeds=(1,)))
