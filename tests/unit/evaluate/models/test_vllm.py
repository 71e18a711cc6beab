"""Answers as vLLM gives them; its fields are those of its documentation, since no test machine has it."""

from types import SimpleNamespace

import pytest

from plw.evaluate.models.vllm import read_output


@pytest.mark.parametrize(("reason", "tokens", "counted"), [("stop", [5, 6, 99], 2), ("length", [5, 6, 7], 3)])
def test_the_token_that_ends_an_answer_is_not_counted(reason: str, tokens: list[int], counted: int) -> None:
    answer = read_output(SimpleNamespace(token_ids=tokens, finish_reason=reason, text=" It. "), cut=4)
    assert (answer.text, answer.tokens, answer.finished, answer.prompt_tokens_cut) == (
        "It.", counted, reason == "stop", 4,
    )  # fmt: skip
