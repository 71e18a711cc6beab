"""All evidence joined: who speaks about a ratio, and how far those who do agree."""

import pytest

from analysis.inference.evidence import Evidence, Finding, agreement, all_evidence, is_near
from analysis.inference.recommend import recommend_weight


def source(weight: float | None, *, near: bool = True, counts: bool = True) -> Evidence:
    return Evidence(
        source="s", ratios="1", near=near, counts=counts, findings={"all": Finding(weight=weight, words="w")}
    )


@pytest.mark.parametrize(("r_g", "ratio", "near"), [(1, 1, True), (1, 2, True), (2, 1, True), (1, 2.1, False)])
def test_a_factor_of_two_is_near_either_way(r_g: float, ratio: float, near: bool) -> None:
    assert is_near(r_g, ratio) is near
    assert is_near(r_g, ratio, 1000.0) is near


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([source(0.1, near=False), source(1.0, counts=False)], "no source speaks about R_g 3"),
        ([source(None), source(None)], "2 sources: no weight is shown to be better than another"),
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
