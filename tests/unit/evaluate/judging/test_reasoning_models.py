"""OpenAI's reasoning models as judges: asked as their server wants it, and told what to set where they are not."""

from pathlib import Path
from typing import Any

import pytest

from plw.config.judge import JudgeConfig
from plw.errors import PermanentError, UserError
from plw.evaluate.judging.evaluator_folder import check_reasoning
from plw.evaluate.judging.judge import ServedJudge
from plw.evaluate.judging.pairwise import Pair
from plw.evaluate.judging.response_cache import ResponseCache
from plw.progress import no_progress
from tests.judge_server import Reply, Server, error, said

PAIRS = [Pair(instruction=f"Say {n}.", answer=f"a{n}", reference=f"b{n}") for n in range(3)]
ONLY = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""Fields that have one value for such models."""
THINKS = 40
"""Tokens that the model reasons for before its first word."""


def openai(number: int, body: dict[str, Any]) -> Reply:
    """As api.openai.com answers for o-series models and GPT-5."""
    if "max_tokens" in body:
        words = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return error(400, words, "unsupported_parameter")
    for name, only in ONLY.items():
        if body.get(name, only) != only:
            words = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            return error(400, words, "unsupported_value")
    unknown = set(body) - {"model", "messages", "max_completion_tokens", *ONLY}
    if unknown:
        return error(400, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
    if body["max_completion_tokens"] <= THINKS:
        return 200, said("", "length"), {}
    return 200, said("1" if "###" in body["messages"][-1]["content"] else "Output (a)"), {}


def verdicts(protocol: str, folder: Path, **fields: Any) -> tuple[int, list[dict[str, Any]]]:
    server = Server(openai)
    judge = JudgeConfig(name="o4", model="o4-mini", **fields)
    with server.running() as address, ResponseCache(folder / "replies") as replies:
        found = ServedJudge(judge, address).compare(protocol, PAIRS, replies=replies, work=folder, progress=no_progress)
    return found.n, server.asked


@pytest.mark.parametrize("protocol", ["alpaca_eval", "pandalm"])
def test_a_reasoning_model_judges(protocol: str, tmp_path: Path) -> None:
    judged, asked = verdicts(protocol, tmp_path, reasoning=True, max_tokens=500)
    assert judged == len(PAIRS)
    assert {body["max_completion_tokens"] for body in asked} == {500}


@pytest.mark.parametrize("protocol", ["alpaca_eval", "pandalm"])
def test_its_refusal_names_what_to_set(protocol: str, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"Unsupported parameter: 'max_tokens'.*judge\.reasoning=true") as caught:
        verdicts(protocol, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(
        Exception, match=r"ended at judge\.max_tokens=30 before its first word; raise judge\.max_tokens"
    ):
        verdicts(protocol, tmp_path, reasoning=True, max_tokens=30)


def test_what_a_reasoning_model_cannot_be_asked_is_refused_beforehand() -> None:
    check_reasoning("pairwise")
    check_reasoning("package:alpaca_eval_gpt4")
    with pytest.raises(
        UserError, match=r"judge\.evaluator=package:weighted_alpaca_eval_gpt4_turbo, which reads log-prob"
    ):
        check_reasoning("package:weighted_alpaca_eval_gpt4_turbo")
    with pytest.raises(UserError, match=r"judge\.evaluator=mixtral, which sends no chats"):
        check_reasoning("mixtral")
    with pytest.raises(UserError, match=r"judge\.reasoning=true does not go with judge\.kind=world"):
        JudgeConfig(name="w", kind="world", reasoning=True)
