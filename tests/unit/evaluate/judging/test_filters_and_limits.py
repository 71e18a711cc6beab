"""A hosted judge's filter takes single prompts, its rate limit holds for all requests; neither ends what others get."""

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from plw.config.judge import JudgeConfig
from plw.errors import StageError, UnreadableError, UserError
from plw.evaluate.judging.client import CHAT, JudgeClient, check_server
from plw.evaluate.judging.judge import ServedJudge
from plw.evaluate.judging.pairwise import Pair, PairwiseResult
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.judging.responses import RATE_LIMIT_RETRIES, failure_of
from plw.progress import no_progress
from tests.judge_server import Reply, Server, error, said

PROTOCOLS = ("alpaca_eval", "pandalm")
PAIRS = [Pair(instruction=f"Tell me fact {n}.", answer=f"a{n}", reference=f"b{n}") for n in range(1, 21)]
AZURE = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."


def judged(server: Server, protocol: str, folder: Path, **fields: Any) -> PairwiseResult:
    with server.running() as address, ResponseCache(folder / "replies.jsonl") as replies:
        judge = ServedJudge(JudgeConfig(**{"name": "mine", "timeout_s": 20.0, **fields}), address)
        return judge.compare(protocol, PAIRS, replies=replies, work=folder / "work", progress=no_progress)


def tie(protocol: str) -> Reply:
    return 200, said("tie" if protocol == "pandalm" else "Tie"), {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "refused",
    [
        (200, said(None, refusal="I cannot judge this."), {}),
        (200, said(None, "content_filter"), {}),
        (200, {"choices": [{"finish_reason": "content_filter", "index": 0}]}, {}),
        error(400, AZURE, "content_filter"),
        error(400, "Invalid prompt: it may violate our usage policy.", "invalid_prompt"),
        error(400, "litellm.ContentPolicyViolationError: no", "400"),
        error(400, "Content Exists Risk"),
        error(403, 'Your input was flagged for "violence". No credits were charged.', 403),
    ],
    ids=["refusal", "Azure's reply", "Gemini's", "Azure", "OpenAI", "LiteLLM", "DeepSeek", "OpenRouter"],
)
def test_a_prompt_that_a_filter_refuses_is_one_verdict_that_cannot_be_read(
    protocol: str, refused: Reply, tmp_path: Path
) -> None:
    """Of AlpacaEval's 805 prompts some are; each ended its cell for good."""
    seventh = "Tell me fact 7."
    server = Server(lambda _, body: refused if seventh in body["messages"][-1]["content"] else tie(protocol))
    result = judged(server, protocol, tmp_path)
    assert (result.n, result.unparsed, result.verdicts[6].points) == (19, 1, None)
    again = Server(lambda *_: pytest.fail("a refused prompt is asked once"))
    assert judged(again, protocol, tmp_path).unparsed == 1


def test_the_error_says_that_a_filter_took_the_replies(tmp_path: Path) -> None:
    server = Server(lambda *_: error(400, AZURE, "content_filter"))
    with pytest.raises(UnreadableError, match=r"; 20 replies are empty by the server's content filter$"):
        judged(server, "alpaca_eval", tmp_path)


@pytest.mark.parametrize("words", ["Your account was flagged for fraud.", "The prompt is filtered by nobody."])
def test_other_refusals_are_no_filters(words: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=f"HTTP 403: {words}"):
        judged(Server(lambda *_: error(403, words)), "pandalm", tmp_path)


@pytest.mark.parametrize("calls", [{"a": 1}, [None], ["x"], "x", True, [{"function": None}]])
def test_tool_calls_that_are_none_are_passed_over(calls: object, tmp_path: Path) -> None:
    """They ended the stage in a traceback."""
    server = Server(lambda *_: (200, said("tie", tool_calls=calls), {}))
    assert judged(server, "pandalm", tmp_path).draws == 20


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((500, "no word", {"Content-Type": "text/html; charset=hex"}), "HTTP 500: no word"),
        ((500, "no word", {"Content-Type": "text/html; charset=undefined"}), "HTTP 500: no word"),
        ((307, "", {"Location": "mailto:x@y"}), r"cannot be reached \(For absolute URLs"),
        ((200, said("", "model_length"), {}), "the reply ended at the context's end before its first word"),
    ],
)
def test_odd_headers_and_ends_are_one_line(
    reply: Reply, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plw.evaluate.judging.responses.LONGEST_WAIT_S", 0.0)
    with pytest.raises(StageError, match=words):
        judged(Server(lambda *_: reply), "pandalm", tmp_path)


@pytest.mark.parametrize("host", ["a..b", "xn--a"])
def test_a_name_that_no_server_can_have_is_one_line(host: str) -> None:
    with pytest.raises(UserError, match=rf"judge\.endpoint=http://{host}/v1: judge mine cannot be reached \("):
        check_server(JudgeConfig(name="mine"), f"http://{host}/v1")


def test_a_limit_that_lets_some_through_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three requests of each tenth of a second: with eight threads one of them is always the unlucky one."""
    monkeypatch.setattr("plw.evaluate.judging.responses.LONGEST_WAIT_S", 0.03)
    monkeypatch.setattr("plw.evaluate.judging.responses.RATE_LIMIT_RETRIES", 5)
    lock, used = threading.Lock(), {}

    def limited(number: int, body: dict[str, Any]) -> Reply:
        window = int(time.monotonic() * 10)
        with lock:
            used[window] = used.get(window, 0) + 1
            return tie("pandalm") if used[window] <= 3 else error(429, "Rate limit reached")

    assert judged(Server(limited), "pandalm", tmp_path, concurrency=8).draws == 20


def test_nobody_asks_while_one_is_told_to_wait(tmp_path: Path) -> None:
    at: list[float] = []

    def limited(number: int, body: dict[str, Any]) -> Reply:
        at.append(time.monotonic())
        return error(429, "slow down", **{"Retry-After": "0.5"}) if number == 1 else tie("pandalm")

    body = {"model": "judge", "messages": [{"role": "user", "content": "Which?"}]}
    with Server(limited).running() as address, JudgeClient(JudgeConfig(name="mine"), address) as client:
        first = threading.Thread(target=client.ask, args=(CHAT, body, "one"))
        first.start()
        while not at:
            time.sleep(0.01)
        time.sleep(0.1)
        client.ask(CHAT, {**body, "model": "other"}, "another")
        first.join()
    assert min(at[1:]) - at[0] >= 0.5


@pytest.mark.parametrize("status", [429, 503])
def test_after_a_wait_one_goes_first_and_the_others_follow(status: int, tmp_path: Path) -> None:
    """All at once they were refused at once, wait after wait."""
    at: list[float] = []

    def limited(number: int, body: dict[str, Any]) -> Reply:
        if number <= 8:
            return error(status, "slow down", **{"retry-after-ms": "300"})
        at.append(time.monotonic())
        time.sleep(0.1)
        return tie("pandalm")

    assert judged(Server(limited), "pandalm", tmp_path, concurrency=8).draws == 20
    assert at[1] - at[0] >= 0.1
    assert at[3] - at[1] >= 0.1, "then two"
    assert at[-1] - at[0] < 3, "then more and more: one after the other they would take four seconds"


def test_requests_that_are_refused_together_are_one_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plw.evaluate.judging.responses.LONGEST_WAIT_S", 0.0)
    server = Server(lambda *_: error(429, "Rate limit reached"))
    with pytest.raises(StageError, match="HTTP 429: Rate limit reached"):
        judged(server, "pandalm", tmp_path, concurrency=8)
    assert 8 <= len(server.asked) <= 8 + RATE_LIMIT_RETRIES


def test_limits_and_troubles_are_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four waits for a limit left no patience for the server's first trouble."""
    monkeypatch.setattr("plw.evaluate.judging.responses.LONGEST_WAIT_S", 0.0)
    kinds = [error(429, "slow")] * 4 + [error(500, "out of memory")] * 2 + [error(429, "slow")] * 3
    server = Server(lambda number, _: kinds[number - 1] if number <= len(kinds) else tie("pandalm"))
    assert judged(server, "pandalm", tmp_path, concurrency=1).draws == 20


def test_a_wait_of_hours_is_not_waited_for() -> None:
    failure = failure_of(httpx.Response(429, headers={"Retry-After": "7200"}), JudgeConfig(name="mine"))
    assert failure is not None
    assert (failure.retries, failure.remedy) == (0, "ask again then")
    assert failure.words.endswith("(asks to come back in 7,200 seconds)")
