"""Inversion: the paper's strings and rule, and target ratios that are met or refused."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plw.data.inversion import KEPT_AT_LEAST, RATIO_TOLERANCE, invert_record, short, to_ratio
from plw.data.records import AlpacaRecord, load_records
from plw.data.statistics import field_lengths, generation_ratio
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

words = st.integers(0, 40).map(lambda n: " ".join(["word"] * n))
records = st.builds(AlpacaRecord, instruction=words, input=words, output=words)


def test_the_papers_strings() -> None:
    plain = AlpacaRecord(instruction="Name a colour.", output="Red.")
    assert invert_record(plain) == AlpacaRecord(
        instruction="Predict the prompt that generated the following AI output.", input="Red.", output="Name a colour."
    )
    with_input = AlpacaRecord(instruction="Translate.", input="rouge", output="red")
    assert invert_record(with_input) == AlpacaRecord(
        instruction="Predict the prompt that generated the below AI output given the following context. Context: rouge",
        input="red",
        output="Translate.",
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(records, min_size=1, max_size=8))
def test_short_inverts_exactly_the_long_completions(
    tiny_tokenizer: "PreTrainedTokenizerBase", data: list[AlpacaRecord]
) -> None:
    lengths = field_lengths(data, tiny_tokenizer)
    result = short(data, tiny_tokenizer)
    for record, after, prompt, completion in zip(data, result, lengths.prompt_E, lengths.completion_E, strict=True):
        assert after == (invert_record(record) if completion >= prompt else record)


@pytest.mark.parametrize("target", [1.0, 0.042, 12.0])
def test_targets_are_met_on_real_records(
    shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase", target: float
) -> None:
    data = load_records(shared_data / "alpaca/alpaca_cleaned_999.json", "alpaca")
    result = to_ratio(data, target, llama_tokenizer, seed=42)
    ratio = generation_ratio(result, llama_tokenizer)
    assert ratio is not None
    assert abs(ratio / target - 1) <= RATIO_TOLERANCE
    assert len(result) >= KEPT_AT_LEAST * len(data)
    assert result == to_ratio(data, target, llama_tokenizer, seed=42)
    if 0.1 <= target <= 8:
        # Between Short's ratio and the original's nothing needs to be left out, and the seed decides who is inverted.
        assert len(result) == len(data)
        assert result != to_ratio(data, target, llama_tokenizer, seed=43)
    # Every record comes from one of the original ones, in their order.
    rest = iter(data)
    assert all(any(record in (original, invert_record(original)) for original in rest) for record in result)


@pytest.mark.parametrize("target", [0.0001, 500.0])
def test_a_target_out_of_reach_says_what_is_in_reach(tiny_tokenizer: "PreTrainedTokenizerBase", target: float) -> None:
    dice = random.Random(0)
    data = [
        AlpacaRecord(instruction="one " * dice.randint(3, 20), output="two " * dice.randint(10, 90)) for _ in range(400)
    ]
    with pytest.raises(UserError, match=rf"dataset.target_ratio={target:g} cannot be met .* reaches ") as caught:
        to_ratio(data, target, tiny_tokenizer, seed=0)
    low, high = (float(word) for word in str(caught.value).split("reaches ")[1].split(" to "))
    for reachable in (low * 1.05, high * 0.95):
        ratio = generation_ratio(to_ratio(data, reachable, tiny_tokenizer, seed=0), tiny_tokenizer)
        assert ratio is not None
        assert abs(ratio / reachable - 1) <= RATIO_TOLERANCE
