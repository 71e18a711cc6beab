"""POSIX: equal to the reference's numbers, by the formula and as released, and what holds for any likelihoods."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plw.evaluate.sensitivity import posix_index, posix_index_as_released
from plw.evaluate.sensitivity.posix import bootstrap_interval


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared_data / "reference/posix/sets.json").read_text())["synthetic"]
    return found


def test_the_index_is_the_references(reference: dict[str, Any]) -> None:
    psi, released = [], []
    for of_set in reference["sets"]:
        likelihoods, lengths = of_set["log_probability"], [len(tokens) for tokens in of_set["response_tokens"]]
        psi.append(posix_index(likelihoods, lengths))
        released.append(posix_index_as_released(likelihoods, of_set["max_new_tokens"]))
        assert psi[-1] == pytest.approx(of_set["psi_by_the_paper_with_actual_lengths"], rel=1e-12)
        assert released[-1] == pytest.approx(of_set["psi_of_their_code"], rel=1e-12)
        same = posix_index(likelihoods, [of_set["max_new_tokens"]] * len(likelihoods))
        assert same == pytest.approx(of_set["psi_by_the_paper_with_max_new_tokens_as_length"], rel=1e-12)
    assert np.mean(psi) == pytest.approx(reference["index_by_the_paper"], rel=1e-12)
    assert np.mean(released) == pytest.approx(reference["index_of_their_code"], rel=1e-12)


@settings(max_examples=40)
@given(count=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_of_any_likelihoods(count: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    likelihood_NN, length_N = -dice.exponential(9, (count, count)), dice.integers(1, 30, count)
    expected = sum(
        abs(likelihood_NN[i, j] - likelihood_NN[j, j]) / length_N[j] for i in range(count) for j in range(count)
    )
    psi = posix_index(likelihood_NN, length_N)
    assert psi == pytest.approx(expected / (count * (count - 1)))
    order = dice.permutation(count)
    assert psi == pytest.approx(posix_index(likelihood_NN[np.ix_(order, order)], length_N[order]))
    # What a response's likelihood is on the whole does not matter, only how it moves.
    assert psi == pytest.approx(posix_index(likelihood_NN - dice.exponential(5, count)[None, :], length_N))
    assert posix_index(np.broadcast_to(likelihood_NN[:1], (count, count)), length_N) == 0


@pytest.mark.parametrize(
    ("likelihoods", "lengths", "words"),
    [
        ([[0.0]], [1], "N of 2 or more"),
        ([[0.0, 1.0]], [1], "N, N"),
        ([[0.0, -np.inf], [0.0, 0.0]], [1, 1], "not finite"),
        ([[0.0, 1.0], [0.0, 0.0]], [1], "2 numbers of tokens"),
        ([[0.0, 1.0], [0.0, 0.0]], [1, -1], "2 numbers of tokens"),
    ],
)
def test_what_is_no_table_of_likelihoods(likelihoods: Any, lengths: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        posix_index(likelihoods, lengths)


def test_an_empty_response_moves_by_nothing() -> None:
    assert posix_index([[0.0, -3.0], [0.0, -2.0]], [0, 2]) == pytest.approx(0.25)


def test_the_interval_holds_the_mean_and_narrows_with_more_prompts() -> None:
    dice = np.random.default_rng(0)
    wide, narrow = (bootstrap_interval(list(dice.exponential(1, n)), iterations=500, seed=1) for n in (20, 2000))
    assert wide[0] < 1 < wide[1]
    assert narrow[1] - narrow[0] < 0.3 * (wide[1] - wide[0])
    assert np.isnan(bootstrap_interval([1.0], iterations=500, seed=1)).all()
