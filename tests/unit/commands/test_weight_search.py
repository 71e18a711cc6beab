"""What a stopped search says: a choice, where the best weight may lie, and what it costs to be wrong."""

import pytest

from analysis.inference.adaptive import Decision, Stopped, Trial, WeightChooser
from plw.commands.weight_search import SearchLine, conclusion


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0, 1.0, "which weight is best the trials do not tell: it may be any from 0 to 1"),
        (0.0, 0.1, "with 95 % probability the best weight lies between 0 and 0.1"),
        (0.1, 1.0, "with 95 % probability the best weight lies between 0.1 and 1"),
    ],
)
def test_an_interval_of_all_weights_is_told_as_not_knowing(low: float, high: float, said: str) -> None:
    decision = Decision(
        best=0.1, low=low, high=high, regret_bound=0.008, next_weights=(), stopped=Stopped.EQUIVALENCE,
        expected={0.0: (0.44, 0.01), 0.1: (0.45, 0.01), 1.0: (0.44, 0.01)},
    )  # fmt: skip
    line = SearchLine(name="", trials=[Trial(weight=0.1, score=0.45, se=0.01)], decision=decision)

    first, second, *_ = conclusion(line, WeightChooser(budget=5, margin=0.01))

    assert first == f"Take prompt weight 0.1; {said}."
    assert second.endswith("no more than 0.8 points (of 100) above it, unless scores jump between trained weights.")


def test_where_every_weight_was_trained_no_jump_can_hide() -> None:
    expected = {0.0: (0.44, 0.01), 1.0: (0.45, 0.01)}
    decision = Decision(
        best=1.0, low=0.0, high=1.0, regret_bound=0.008, next_weights=(), stopped=Stopped.EQUIVALENCE, expected=expected
    )
    trials = [Trial(weight=weight, score=score, se=0.01) for weight, (score, _) in expected.items()]

    _, second, *_ = conclusion(SearchLine(name="", trials=trials, decision=decision), WeightChooser(weights=(0.0, 1.0)))

    assert second.endswith("no more than 0.8 points (of 100) above it.")
