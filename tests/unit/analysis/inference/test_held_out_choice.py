"""Choices of weights, tested where they were not made."""

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
