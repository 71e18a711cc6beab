"""Choices of weights, tested where they were not made."""

import numpy as np
import pytest
from simulated_grids import by_share, grid_of

from analysis.inference.held_out_choice import held_out_choices
from analysis.published.wit_grid import published_grid


def test_a_choice_by_luck_gains_nothing_elsewhere() -> None:
    choices = held_out_choices(grid_of(lambda p, r: 50.0 if r else 20.0, 1.0, datasets=("d1", "d2", "d3", "d4")))
    at_home = {choice.rule: choice.mean for choice in choices if not choice.measured_elsewhere}
    assert at_home["a pair for each panel"] > 1
    elsewhere = [choice for choice in choices if choice.measured_elsewhere]
    assert {choice.left_out for choice in elsewhere} == {"model", "dataset", "benchmark"}
    assert all(choice.mean < at_home["a pair for each panel"] / 2 for choice in elsewhere)
    one = held_out_choices(grid_of(by_share, 0.1, datasets=("d",), models=("m",), benchmarks=("b",)))
    assert [choice.measured_elsewhere for choice in one] == [False, False]


def test_a_choice_that_is_good_everywhere_keeps_its_gain() -> None:
    choices = held_out_choices(grid_of(lambda p, r: 60.0 if (p, r) == (0.4, 0.8) else 50.0, 0.1))
    assert all(choice.mean == pytest.approx(20, abs=0.5) for choice in choices)


def test_the_published_grid_corrected_for_the_choice() -> None:
    """The first two are facts found by hand."""
    means = {(choice.rule, choice.left_out): choice.mean for choice in held_out_choices(published_grid())}
    assert means["one pair for all", "model"] == pytest.approx(0.76, abs=0.005)
    assert means["one pair for all", "dataset"] == pytest.approx(2.04, abs=0.005)
    assert means["a pair for each panel", "benchmark"] < 0 < means["a pair for each dataset", "model"] < 0.76


ITSELF = "nothing: measured where it was chosen"
ONE, EACH = "one pair for all", "a pair for each panel"


@pytest.mark.parametrize(
    ("models", "datasets", "benchmarks", "rules"),
    [
        ("m", "d", "b", []),
        ("m", "d", "bc", [(ONE, "benchmark"), (EACH, "benchmark")]),
        ("mn", "d", "b", [(ONE, "model")]),
        ("m", "de", "b", [(ONE, "dataset")]),
        (
            "mn", "de", "b",
            [(ONE, "model"), (ONE, "dataset"), ("a pair for each dataset", "model"),
             ("a pair for each model", "dataset")],
        ),
    ],
)  # fmt: skip
def test_a_choice_leaves_out_what_there_are_several_of(
    models: str, datasets: str, benchmarks: str, rules: list[tuple[str, str]]
) -> None:
    found = held_out_choices(
        grid_of(by_share, 1.0, models=tuple(models), datasets=tuple(datasets), benchmarks=tuple(benchmarks))
    )
    told = [(choice.rule, choice.left_out) for choice in found]
    assert [rule for rule in told if rule[1] != ITSELF] == rules
    assert [rule for rule in told if rule[1] == ITSELF] == [(ONE, ITSELF), (EACH, ITSELF)]


def test_every_rule_is_what_it_says() -> None:
    """Panel by panel, choosing by hand on all that is not left out."""
    grid = grid_of(by_share, 3.0, datasets=("d1", "d2"), models=("m1", "m2", "m3"), benchmarks=("b1", "b2", "b3"))
    gain, names = grid.gain, ("b1", "b2", "b3")
    scores = grid.scores.set_index(["benchmark", "dataset", "model", "prompt_weight", "response_weight"])["score"]
    table = {name: scores[name].unstack(["prompt_weight", "response_weight"])[list(gain.columns)] for name in names}
    panels = list(gain.index)

    def held_out(rule: str, left_out: str, dataset: str, model: str) -> float:
        own = gain.loc[(dataset, model)]
        if left_out == "benchmark":
            change = usual = 0.0
            for name in names:
                rest = sum(table[other] for other in names if other != name)
                relative = rest.div(rest[0.0, 1.0], axis=0)
                pair = (relative.mean() if rule == ONE else rest.loc[(dataset, model)]).idxmax()
                usual += table[name].loc[(dataset, model), (0.0, 1.0)]
                change += table[name].loc[(dataset, model), pair] - table[name].loc[(dataset, model), (0.0, 1.0)]
            return 100 * change / usual
        others = [
            place
            for place in panels
            if (left_out != "model" or place[1] != model)
            and (left_out != "dataset" or place[0] != dataset)
            and ("each dataset" not in rule or place[0] == dataset)
            and ("each model" not in rule or place[1] == model)
            and (rule != EACH or place == (dataset, model))
        ]
        return float(own[gain.loc[others].mean().idxmax()])

    for choice in held_out_choices(grid):
        values = np.array([held_out(choice.rule, choice.left_out, *place) for place in panels])
        assert choice.mean == pytest.approx(values.mean()), choice
        assert choice.median == pytest.approx(np.median(values))
        assert (choice.wins, choice.panels) == ((values > 0).sum(), 6)
        assert choice.low < choice.mean < choice.high
