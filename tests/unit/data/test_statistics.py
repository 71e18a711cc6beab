"""Statistics: Table 1's numbers on real records, and both ways to average a ratio."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord, load_records
from plw.data.statistics import bigram_overlap, dataset_statistics, generation_ratio, token_counts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def test_the_row_of_the_real_sample(shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase") -> None:
    row = dataset_statistics(load_records(shared_data / "alpaca/alpaca_cleaned_999.json", "alpaca"), llama_tokenizer)
    assert row.records == 999
    # Counted once with the sentencepiece package on the same file.
    assert row.instruction_mean == pytest.approx(13.5646, abs=1e-4)
    assert row.input_mean == pytest.approx(6.9159, abs=1e-4)
    assert row.completion_mean == pytest.approx(168.9650, abs=1e-4)
    assert row.generation_ratio == pytest.approx(8.25005, abs=1e-5)
    assert row.total_tokens == round(999 * (row.instruction_mean + row.input_mean + row.completion_mean))


def test_ratio_of_totals_and_mean_of_ratios(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    records = [
        AlpacaRecord(instruction="a", output="b b b b"),
        AlpacaRecord(instruction="a a a", input="c", output="b"),
    ]
    prompts = token_counts(["a", "a a a"], tiny_tokenizer) + token_counts(["", "c"], tiny_tokenizer)
    completions = token_counts(["b b b b", "b"], tiny_tokenizer)
    row = dataset_statistics(records, tiny_tokenizer)
    assert row.generation_ratio == completions.sum() / prompts.sum()
    assert row.mean_of_ratios == pytest.approx((completions / prompts).mean())
    assert token_counts([""], tiny_tokenizer).tolist() == [0]


def test_without_prompt_tokens_there_is_no_ratio(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    row = dataset_statistics([AlpacaRecord(instruction="", output="b")], tiny_tokenizer)
    assert row.generation_ratio is None
    assert row.mean_of_ratios is None


def test_a_chat_counts_the_assistants_words_as_completion(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    turns = [("system", "s"), ("user", "a"), ("assistant", "b b")]
    chat = ChatRecord(messages=tuple(ChatMessage(role=role, content=content) for role, content in turns))
    same = AlpacaRecord(instruction="s a", output="b b")
    assert generation_ratio([chat], tiny_tokenizer) == generation_ratio([same], tiny_tokenizer)


def test_overlap_is_the_share_of_a_completions_word_pairs_that_its_prompt_has() -> None:
    copied = AlpacaRecord(instruction="Repeat this", input="the red fox runs", output="The red fox")
    half = AlpacaRecord(instruction="the red", output="the red fox")
    none = AlpacaRecord(instruction="a b", output="b a")
    one_word = AlpacaRecord(instruction="a", output="a")
    assert bigram_overlap([copied]) == 1
    assert bigram_overlap([half]) == 0.5
    assert bigram_overlap([copied, half, none, one_word]) == pytest.approx(0.5)
    assert bigram_overlap([one_word]) is None
