"""A judge's server that misbehaves: no answer is a failed stage in the server's words, and paid replies are kept."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from plw.config.judge import JudgeConfig
from plw.errors import PermanentError, StageError, UserError
from plw.evaluate.judging.client import check_server
from plw.evaluate.judging.judge import ServedJudge
from plw.evaluate.judging.pairwise import Pair, PairwiseResult
from plw.evaluate.judging.response_cache import ResponseCache
from plw.progress import no_progress
from tests.judge_server import Reply, Server, error, said

PROTOCOLS = ("alpaca_eval", "pandalm")
RATE_LIMIT = "Rate limit reached on tokens per min. Please try again in 20s."
TOO_LONG = "This model's maximum context length is 512 tokens. Please reduce the length of the messages."


def verdict(body: dict[str, Any]) -> dict[str, Any]:
    """The answer is better, wherever it stands: in each prompt the answers say good and bad."""
    text = body["messages"][0]["content"] if len(body["messages"]) == 1 else body["messages"][-1]["content"]
    first = text.index("good") < text.index("bad")
    if "### Response 1" in text:
        return said("1" if first else "2")
    return said("Output (a)" if first else "Output (b)")


def right(number: int, body: dict[str, Any]) -> Reply:
    return 200, verdict(body), {}


PAIRS = [
    Pair(
        instruction=f"Tell me fact {n}.",
        answer=f"good {n}" if n % 4 else f"bad {n}",
        reference=f"bad {n}" if n % 4 else f"good {n}",
        where=f"suite.prompts.mine, row {n}",
    )
    for n in range(1, 21)
]
"""Of twenty answers fifteen are better than their reference: win rate 75."""


def ask(
    server: Server, protocol: str, folder: Path, pairs: list[Pair] = PAIRS, **fields: Any
) -> tuple[PairwiseResult | None, str]:
    """The result, or the error in words; the replies are kept in the folder."""
    judge = JudgeConfig(**{"name": "mine", "concurrency": 1, "timeout_s": 20.0, **fields})
    with server.running() as address, ResponseCache(folder / "replies.jsonl") as replies:
        judged = ServedJudge(judge, address)
        try:
            return judged.compare(protocol, pairs, replies=replies, work=folder / "work", progress=no_progress), ""
        except StageError as failed:
            words = str(failed)
            assert f"judge mine at {address}" in words
            assert "\n" not in words
            return None, words


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plw.evaluate.judging.responses.LONGEST_WAIT_S", 0.0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("answered", [0, 10, 19])
def test_a_rate_limit_is_a_failed_stage_and_paid_replies_stay(protocol: str, answered: int, tmp_path: Path) -> None:
    def limited(number: int, body: dict[str, Any]) -> Reply:
        return right(number, body) if number <= answered else error(429, RATE_LIMIT, **{"Retry-After": "0"})

    result, words = ask(Server(limited), protocol, tmp_path)
    assert result is None
    assert RATE_LIMIT in words
    assert "HTTP 429" in words
    assert "verdicts cannot be read" not in words

    mended = Server(right)
    result, _ = ask(mended, protocol, tmp_path)
    assert result is not None
    assert (result.win_rate, result.n, result.unparsed) == (75.0, 20, 0)
    requests = 20 if protocol == "alpaca_eval" else 40
    assert len(mended.asked) == requests - answered


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_busy_moment_is_waited_for(protocol: str, tmp_path: Path) -> None:
    def busy(number: int, body: dict[str, Any]) -> Reply:
        kinds = {1: error(429, RATE_LIMIT), 2: error(503, "loading"), 4: error(200, "overloaded", 502)}
        return kinds.get(number) or right(number, body)

    result, words = ask(Server(busy), protocol, tmp_path)
    assert words == ""
    assert result is not None
    assert (result.win_rate, result.n) == (75.0, 20)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_prompt_that_the_judge_cannot_hold_is_named(protocol: str, status: int, tmp_path: Path) -> None:
    def short(number: int, body: dict[str, Any]) -> Reply:
        return error(status, TOO_LONG) if "Tell me fact 7." in json.dumps(body) else right(number, body)

    server, judge = Server(short), JudgeConfig(name="mine", concurrency=2)
    with (
        server.running() as address,
        ResponseCache(tmp_path / "other.jsonl") as replies,
        pytest.raises(PermanentError, match=r"suite\.prompts\.mine, row 7"),
    ):
        ServedJudge(judge, address).compare(
            protocol, PAIRS, replies=replies, work=tmp_path / "work", progress=no_progress
        )
    _, words = ask(Server(short), protocol, tmp_path)
    assert "suite.prompts.mine, row 7" in words
    assert TOO_LONG in words
    assert "suite.decoding.max_new_tokens" in words


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(500, "CUDA out of memory"), ["HTTP 500", "CUDA out of memory"]),
        (error(404, "The model judge does not exist."), ["HTTP 404", "does not exist", "judge.model=judge"]),
        (error(401, "Incorrect API key."), ["HTTP 401", "Incorrect API key.", "OPENAI_API_KEY"]),
        (error(429, "Quota exceeded", "insufficient_quota"), ["HTTP 429: Quota exceeded", "see the account"]),
        (error(200, "model is overloaded", 502), ["model is overloaded"]),
        ((200, {"error": "out of credit"}, {}), ["out of credit"]),
        ((200, {"choices": []}, {}), ["no choices", "judge.endpoint"]),
        ((200, {"choices": None}, {}), ["no choices", "judge.endpoint"]),
        ((200, {"choices": [None]}, {}), ["no choices"]),
        ((200, ["a list"], {}), ["no choices"]),
        ((200, {"choices": [{"message": None}]}, {}), ["no content"]),
        ((200, "<html>Welcome</html>", {}), ["not JSON", "Welcome", "judge.endpoint"]),
        ((200, "[" * 100_000, {}), ["not JSON", "judge.endpoint"]),
        ((200, {"error": {"code": "\u00b2", "message": "hm"}}, {}), ["hm"]),
        ((502, "<html>Bad gateway</html>", {}), ["HTTP 502", "Bad gateway"]),
        ((200, said(None, "length", reasoning_content="Let me think"), {}), ["judge.max_tokens=100", "raise"]),
        ((200, said("", "length"), {}), ["judge.max_tokens=100"]),
        ((200, said(None), {}), ["no content"]),
    ],
    ids=lambda value: value[1] if isinstance(value, list) and len(value) > 1 else None,
)
def test_what_a_server_says_wrongly_is_one_line_and_not_kept(
    protocol: str, reply: Reply, words: list[str], tmp_path: Path
) -> None:
    result, line = ask(Server(lambda number, body: reply), protocol, tmp_path)
    assert result is None
    assert all(word in line for word in words), line
    assert not (tmp_path / "replies.jsonl").read_text(), "a reply that cannot be read is not kept"
    result, _ = ask(Server(right), protocol, tmp_path)
    assert result is not None
    assert result.win_rate == 75.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_slow_server_is_given_up_after_the_timeout(protocol: str, tmp_path: Path) -> None:
    wake = threading.Event()

    def slow(number: int, body: dict[str, Any]) -> Reply:
        wake.wait(20)
        return right(number, body)

    result, words = ask(Server(slow), protocol, tmp_path, timeout_s=0.2)
    wake.set()
    assert result is None
    assert "judge.timeout_s=0.2" in words


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_error_of_unreadable_verdicts_holds_a_reply(protocol: str, tmp_path: Path) -> None:
    judge = JudgeConfig(name="mine")
    vague = Server(lambda number, body: (200, said("Both of them are fine."), {}))
    with (
        vague.running() as address,
        ResponseCache(tmp_path / "replies") as replies,
        pytest.raises(StageError, match=r"20 of 20 verdicts cannot be read .*'Both of them are fine\.'"),
    ):
        ServedJudge(judge, address).compare(protocol, PAIRS, replies=replies, work=tmp_path, progress=no_progress)


def test_nothing_more_is_asked_after_the_first_request_without_an_answer(tmp_path: Path) -> None:
    server = Server(lambda number, body: error(401, "Incorrect API key."))
    ask(server, "alpaca_eval", tmp_path, concurrency=4)
    assert len(server.asked) <= 4


def test_the_key_is_sent_and_a_server_that_quotes_it_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_JUDGE", "sk-very-secret-of-mine")
    server = Server(lambda number, body: error(401, f"Incorrect key: {sorted(server.keys)}"))  # type: ignore[type-var]
    _, words = ask(server, "pandalm", tmp_path, key_variable="MY_JUDGE")
    assert server.keys == {"Bearer sk-very-secret-of-mine"}
    assert "very-secret" not in words
    assert "Incorrect key: ['Bearer [MY_JUDGE]']" in words


@pytest.mark.parametrize("padding", range(0, 300, 37))
def test_a_key_is_taken_out_before_the_words_are_shortened(
    padding: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-" + "0123456789" * 5
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server = Server(lambda number, body: error(401, f"{'x' * padding} {key} {'y' * 300}"))
    _, words = ask(server, "pandalm", tmp_path)
    assert key[:12] not in words


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reply_that_quotes_the_key_or_is_no_text_can_be_kept(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a surrogate pair is valid in JSON and in no file; a proxy may write a request's headers into replies."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-of-mine")

    def odd(number: int, body: dict[str, Any]) -> Reply:
        reply = verdict(body)
        message = reply["choices"][0]["message"]
        message["content"] += "\n\nReason: \ud83d sk-very-secret-of-mine \U0001f600"
        return 200, reply, {}

    result, words = ask(Server(odd), protocol, tmp_path)
    assert result is not None, words
    assert result.win_rate == 75.0
    (reply,) = {reply.partition("Reason: ")[2] for found in result.verdicts for reply in found.replies}
    assert reply == "\ufffd [OPENAI_API_KEY] \U0001f600"
    reply.encode()
    assert "very-secret" not in (tmp_path / "replies.jsonl").read_text()


def test_a_key_with_the_line_break_of_its_file_is_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-of-mine\r\n")
    server = Server(right)
    _, words = ask(server, "pandalm", tmp_path)
    assert (words, server.keys) == ("", {"Bearer sk-very-secret-of-mine"})


@pytest.mark.parametrize("key", ["sk-very\nsecret-of-mine", "sk-very-sécret", "sk-very\x7fsecret"])
def test_a_key_that_no_header_can_carry_is_named_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_JUDGE", key)
    with pytest.raises(UserError, match="MY_JUDGE holds no key") as refused:
        check_server(JudgeConfig(name="mine", key_variable="MY_JUDGE"), "http://127.0.0.1:9/v1")
    assert "sk-very" not in str(refused.value)


def test_a_tie_of_unequal_answers_is_a_draw_for_evaluators_that_write_0(tmp_path: Path) -> None:
    """`package:lmsys_gpt4` gives two scores; its parser calls equal ones 0."""
    server = Server(lambda number, body: (200, said("7 7\nBoth are fine.") if number % 2 else said("9 2"), {}))
    result, _ = ask(server, "alpaca_eval", tmp_path, evaluator="package:lmsys_gpt4")
    assert result is not None
    assert (result.n, result.unparsed, result.draws, result.losses + result.wins) == (20, 0, 10, 10)


@pytest.mark.parametrize(
    ("models", "model", "words"),
    [
        ((200, {"data": [{"id": "judge"}]}, {}), "judge", None),
        ((200, {"data": [{"id": "a"}, {"id": "b"}]}, {}), "judge", r"judge\.model=judge .*allowed: a, b"),
        (
            (401, {"error": {"message": "Incorrect API key"}}, {}),
            "judge",
            r"HTTP 401: Incorrect.*OPENAI_API_KEY",
        ),
        ((404, "no such path", {}), "judge", None),
        ((200, "not JSON", {}), "judge", None),
    ],
)
def test_a_server_is_asked_for_its_models(models: Reply, model: str, words: str | None) -> None:
    judge = JudgeConfig(name="mine", model=model)
    with Server(right, models).running() as address:
        if words is None:
            check_server(judge, address)
        else:
            with pytest.raises(UserError, match=words):
                check_server(judge, address)
    with pytest.raises(UserError, match=rf"judge\.endpoint={address}: judge mine cannot be reached"):
        check_server(judge, address)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "usage", [{"total_tokens": "many"}, {"total_tokens": None}, "none", {"total_tokens": True}, []]
)
def test_a_reply_is_read_whatever_it_says_of_its_tokens(protocol: str, usage: object, tmp_path: Path) -> None:
    def odd(number: int, body: dict[str, Any]) -> Reply:
        status, content, headers = right(number, body)
        return status, {**content, "usage": usage}, headers

    result, words = ask(Server(odd), protocol, tmp_path)
    assert words == ""
    assert result is not None
    assert result.win_rate == 75.0
