"""Answers as vLLM gives them; its fields are those of its documentation, since no test machine has it."""

from types import SimpleNamespace

import pytest

from plw.evaluate.models.vllm import read_output
from plw.testing.tokenizers import byte_level_tokenizer


@pytest.mark.parametrize(("reason", "tokens", "counted"), [("stop", [5, 6, 99], 2), ("length", [5, 6, 7], 3)])
def test_the_token_that_ends_an_answer_is_not_counted(reason: str, tokens: list[int], counted: int) -> None:
    output = SimpleNamespace(token_ids=tokens, finish_reason=reason, text=" It. ")
    answer = read_output(output, byte_level_tokenizer(size=256), None, cut=4)
    assert (answer.text, answer.tokens, answer.finished, answer.prompt_tokens_cut) == (
        "It.", counted, reason == "stop", 4,
    )  # fmt: skip


def test_an_answer_is_without_its_thought_and_header() -> None:
    tokenizer = byte_level_tokenizer(size=256)
    tokenizer.add_tokens(["<|message|>", "<|end|>"], special_tokens=True)
    written = "analysis<|message|>Hm.<|end|>final<|message|>It.<|end|>"
    tokens = tokenizer(written, add_special_tokens=False)["input_ids"]
    output = SimpleNamespace(token_ids=tokens, finish_reason="stop", text="analysisHm.finalIt.")
    before_words = tokenizer.convert_tokens_to_ids("<|message|>")
    answer = read_output(output, tokenizer, before_words, cut=0)
    assert (answer.text, answer.tokens) == ("It.", len(tokens) - 1)
    assert read_output(output, tokenizer, None, cut=0).text == output.text
