"""All evidence joined: who speaks about a ratio, and how far those who do agree."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.gam.optimum import RatioOptimum
from analysis.inference.evidence import Evidence, Finding, agreement, all_evidence, is_near
from analysis.inference.nearest import NearestVerdicts, nearest_verdicts
from analysis.inference.recommend import Own, recommend_weight
from analysis.scores.frame import EXPONENT, TidyFrame


def source(weight: float | None, *, near: bool = True, counts: bool = True, decided: bool = True) -> Evidence:
    finding = Finding(weight=weight, words="w", decided=decided)
    return Evidence(source="s", ratios="1", near=near, counts=counts, findings={"all": finding})


@pytest.mark.parametrize(("r_g", "ratio", "near"), [(1, 1, True), (1, 2, True), (2, 1, True), (1, 2.1, False)])
def test_a_factor_of_two_is_near_either_way(r_g: float, ratio: float, near: bool) -> None:
    assert is_near(r_g, ratio) is near
    assert is_near(r_g, ratio, 1000.0) is near


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([source(0.1, near=False), source(1.0, counts=False)], "no source speaks about R_g 3"),
        ([source(None), source(None)], "2 sources: no weight is shown to be better than another"),
        ([source(None, decided=False)], "1 source: none can tell"),
        ([source(None), source(None, decided=False)], "2 sources: no weight is shown to be better than another; 1 can"),
        ([source(0.1), source(None, decided=False)], "1 of 2 sources names a weight, 0.1; 1 cannot tell"),
        ([source(0.1)], "1 of 1 source names a weight, 0.1"),
        ([source(0.242), source(0.1), source(None)], "2 of 3 sources name a weight, 0.1 to 0.24, near each other"),
        ([source(0.1), source(1.0)], "2 of 2 sources name a weight, 0.1 to 1, far apart (0.50 in w_p)"),
        ([source(1.0), source(0.1, counts=False), source(None)], "1 of 2 sources names a weight, 1; 1 shows none"),
    ],
)
def test_only_those_that_speak_enter_the_agreement(sources: list[Evidence], words: str) -> None:
    said = agreement(sources, 3.0)
    assert said["all"].startswith(words)
    assert said["multiple choice"] == "no source speaks about R_g 3"


@pytest.mark.parametrize(
    ("r_g", "speak"),
    [
        (0.08, {"PLW paper, Table 3 (AlpacaDataShort)"}),
        (1.2, {"PLW paper, Table 4 (ratio model)"}),
        (
            7.5,
            {
                "PLW paper, Table 4 (ratio model)",
                "PLW paper, Table 3 (AlpacaDataCleaned)",
                "WIT paper's grid (Alpaca-Cleaned, 5 base models)",
            },
        ),
    ],
)
def test_each_source_speaks_where_its_data_are(r_g: float, speak: set[str]) -> None:
    advice = recommend_weight(r_g, [], no_model="none")
    found = all_evidence(advice, None, registry="own-own", like_yours=True)
    published = [item for item in found if not item.source.startswith("pocket")]
    assert {item.source for item in published if item.speaks} == speak
    assert len(published) == 3
    for item in found:
        assert item.findings
        assert item.to_dict()["speaks"] is item.speaks


def of_registry(
    score: Callable[[str, float], float],
    weights: tuple[float, ...],
    groups: tuple[str, str] = ("multiple_choice", "multiple_choice"),
) -> tuple[Finding, NearestVerdicts]:
    """What is told of the kind of two benchmarks that one base model was scored on, and the verdicts."""
    rows = [
        {"dataset": "d", "model": "one", "seed": 0, "prompt_weight": weight, "w_p": weight**EXPONENT, "r_g": 3.0,
         "benchmark": name, "group": group, "metric": "acc", "value": 0.0, "score01": score(name, weight)}
        for weight in weights for name, group in zip(("a", "b"), groups, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    nearest = nearest_verdicts(TidyFrame(rows=table, missing=table.head(0), notes=()), 3.0)
    assert nearest is not None
    found = all_evidence(recommend_weight(3.0, [], no_model="none"), nearest, registry="own-own", like_yours=True)
    (own,) = [item for item in found if item.source.startswith("this registry")]
    return own.findings["multiple choice" if "multiple_choice" in groups else "generation"], nearest


MANY = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)


@pytest.mark.parametrize(
    ("level", "weights", "words"),
    [
        (0.5, (0.0, 0.1, 0.5, 1.0), "the same scores at every weight"),
        (None, (0.0, 1.0), "too few cells to decide"),
        (None, (0.5,), "one weight alone"),
        (None, (0.0, 0.1, 0.2, 0.5, 0.7, 1.0), "no effect shown"),
    ],
)
def test_a_registry_that_cannot_tell_shows_no_effect_of_none(
    level: float | None, weights: tuple[float, ...], words: str
) -> None:
    """What the report says of such scores: they never vary, or are too few."""
    generator = np.random.default_rng(0)
    finding, nearest = of_registry(lambda *_: level or generator.normal(0.5, 0.05), weights)
    assert finding.words.startswith(words)
    assert finding.decided == (words == "no effect shown")
    if finding.decided:
        (group,) = [verdict for verdict in nearest.verdicts if verdict.name == "multiple_choice"]
        assert group.excluded is not None
        assert finding.words == f"no effect shown (above {100 * group.excluded:.2g} points excluded)"


@pytest.mark.parametrize(
    ("slopes", "weight", "words"),
    [
        ({"a": 0.3, "b": 0.3}, 1.0, "1 (p = "),
        ({"a": -0.3, "b": -0.3}, None, "moved: down"),
        ({"a": 0.3, "b": -0.3}, None, "moved: benchmarks, not their mean"),
    ],
)
def test_a_weight_is_named_where_scores_rise_to_it(slopes: dict[str, float], weight: float | None, words: str) -> None:
    generator = np.random.default_rng(0)
    finding, _ = of_registry(
        lambda name, weight: 0.5 + slopes[name] * weight**EXPONENT + generator.normal(0, 0.005), MANY
    )
    assert (finding.weight, finding.decided) == (weight, True)
    assert finding.words.startswith(words)


@pytest.mark.parametrize("rising", ["a", "b"])
def test_of_short_and_long_generation_the_one_that_names_a_weight_speaks(rising: str) -> None:
    generator = np.random.default_rng(0)
    finding, _ = of_registry(
        lambda name, weight: 0.5 + (0.3 if name == rising else -0.3) * weight**EXPONENT + generator.normal(0, 0.005),
        MANY,
        ("short_generation", "long_generation"),
    )
    assert (finding.weight, finding.decided) == (1.0, True)


@pytest.mark.parametrize(
    ("low", "high", "predicted_range", "weight", "words", "decided"),
    [
        (0.05, 0.31, 0.5, 0.125, "0.12 (0.05 to 0.31)", True),
        (0.05, 0.31, 0.01, None, "it hardly matters (best 0.12 (0.05 to 0.31))", True),
        (0.0, 1.0, 0.5, None, "cannot tell (0 to 1)", False),
    ],
)
def test_the_ratio_model_names_a_weight_that_matters_and_is_known(
    low: float, high: float, predicted_range: float, weight: float | None, words: str, decided: bool
) -> None:
    optimum = RatioOptimum(
        ratio=3.0, plw=0.125, low=low, high=high, over="scores", score_low=low, score_high=high,
        predicted_range=predicted_range,
    )  # fmt: skip
    own = (Own(aggregate="all", optimum=optimum), Own(aggregate="generation", optimum=None, refusal="too few"))
    advice = replace(recommend_weight(3.0, [], no_model="none"), own=own)
    for like_yours in (True, False):
        found = all_evidence(advice, None, registry="own-own", like_yours=like_yours)
        (model,) = [item for item in found if item.source == "this registry's ratio model (own-own)"]
        assert model.findings == {"all": Finding(weight=weight, words=words, decided=decided)}
        assert (model.speaks, model.ratios) == (like_yours, "around it")
    none = all_evidence(replace(advice, own=own[1:]), None, registry="own-own", like_yours=True)
    assert not [item for item in none if "ratio model (own" in item.source]


@pytest.mark.parametrize(("r_g", "near"), [(0.49, False), (0.5, True), (8.0, True), (8.01, False)])
def test_table_4_speaks_from_its_first_row_to_its_last(r_g: float, near: bool) -> None:
    found = all_evidence(recommend_weight(r_g, [], no_model="none"), None, registry="own-own", like_yours=True)
    assert (found[0].near, found[0].ratios) == (near, "0.5 to 8")
