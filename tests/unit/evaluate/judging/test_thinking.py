"""What a judge thinks before it speaks is no part of its words, in the marks of any model."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.config.judge import JudgeConfig
from plw.evaluate.judging.responses import Failure, failure_of, read_choice
from tests.judge_server import said

JUDGE = JudgeConfig(name="mine")


def words_of(body: dict[str, Any]) -> str | Failure:
    """The words of a reply, or why it is none."""
    response = httpx.Response(200, json=body)
    return failure_of(response, JUDGE) or str(read_choice(response.json(), JUDGE)["text"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<think>\nRating: [[3]], or more?\n</think>\n\nRating: [[8]]", "Rating: [[8]]"),
        ("\n<think></think>\n2\n\n### Reason", "2\n\n### Reason"),
        ("Say [[3]]?\n</think>\n\nRating: [[8]]", "Rating: [[8]]"),
        ("Rating: [[8]], although it writes </think> twice", "Rating: [[8]], although it writes </think> twice"),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "[[3]]"}]}, {"type": "text", "text": "[[8]]"}],
            "[[8]]",
        ),
        ([{"type": "text", "text": "Rating: "}, {"type": "text", "text": "[[8]]"}], "Rating: [[8]]"),
        ("<think>It was never closed. [[3]]", ""),
        ("<think>[[3]] <reasoning>or [[4]]</reasoning>, or [[5]]</think>[[8]]", "[[8]]"),
        ("<thinking>[[3]]</thinking>\n[[8]]", "[[8]]"),
        ("<reasoning>[[3]]</reasoning>[[8]]", "[[8]]"),
        ("[THINK][[3]][/THINK][[8]]", "[[8]]"),
        ("\u25c1think\u25b7[[3]]\u25c1/think\u25b7[[8]]", "[[8]]"),
        ("<|START_THINKING|>[[3]]<|END_THINKING|>[[8]]", "[[8]]"),
        (
            "<|channel|>analysis<|message|>[[3]]?<|end|><|start|>assistant<|channel|>final<|message|>[[8]]",
            "[[8]]",
        ),
        ("<|channel|>analysis<|message|>It was cut at [[3]]", ""),
        ("\ufeff1\r\n\r\n### Reason", "1\r\n\r\n### Reason"),
    ],
)
def test_reasoning_is_no_part_of_the_words(content: Any, words: str) -> None:
    assert words_of(said(content)) == words


@given(st.text(alphabet=st.sampled_from("ab[]5\n <>/"), max_size=40), st.text(alphabet="ab[]5 \n", max_size=20))
def test_whatever_was_thought_the_words_are_those_behind_it(thought: str, verdict: str) -> None:
    verdict = verdict.strip()
    if "</think>" not in thought:
        assert words_of(said(f"<think>{thought}</think>\n\n{verdict}")) == verdict
        assert words_of(said(f"{thought}\n</think>\n\n{verdict}")) == verdict
    assert words_of(said(verdict)) == verdict


@pytest.mark.parametrize("content", ["<think>Let me see", "<think>a</think>", [{"type": "thinking", "thinking": []}]])
def test_reasoning_that_took_all_tokens_is_told_as_such(content: Any) -> None:
    failure = words_of(said(content, "length"))
    assert isinstance(failure, Failure)
    assert "judge.max_tokens=100 before its first word" in failure.words


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_reply_that_was_all_taken_for_reasoning_says_so(field: str) -> None:
    """A server's reasoning parser that is not the model's finds no end of it."""
    failure = words_of(said(None, **{field: "Output (a) is better."}))
    assert isinstance(failure, Failure)
    assert "reasoning parser" in failure.remedy
    assert "Output (a) is better." in failure.words
