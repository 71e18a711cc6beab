"""Replies and addresses as public servers have them: read where they are legal, told in one line where they are not."""

import gc
import json
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from plw.config.judge import JudgeConfig
from plw.errors import PermanentError, StageError, UserError
from plw.evaluate.judging.client import CHAT, JudgeClient, check_server
from plw.evaluate.judging.evaluator_folder import evaluator_folder
from plw.evaluate.judging.judge import ServedJudge
from plw.evaluate.judging.pairwise import Pair
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.judging.responses import Failure, failure_of, read_choice
from plw.progress import no_progress
from tests.judge_server import Reply, Server, error, said, serving

JUDGE = JudgeConfig(name="mine", timeout_s=20.0)
BODY = {"model": "judge", "messages": [{"role": "user", "content": "Which?"}]}
LISTED = {"data": [{"id": "judge"}]}


def words_of(body: dict[str, Any]) -> str | Failure:
    """The words of a reply, or why it is none."""
    response = httpx.Response(200, json=body)
    return failure_of(response, JUDGE) or str(read_choice(response.json(), JUDGE)["text"])


@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource"])
@pytest.mark.parametrize("content", ["", "Output (a"])
def test_a_reply_that_the_server_broke_off_is_no_verdict(finish: str, content: str) -> None:
    failure = words_of(said(content, finish))
    assert isinstance(failure, Failure)
    assert finish in failure.words
    assert failure.retries


def test_an_error_inside_a_choice_is_an_error() -> None:
    """OpenRouter's form of an upstream server's failure."""
    body = said("", "error")
    body["choices"][0]["error"] = {"code": 502, "message": "Upstream is away"}
    failure = words_of(body)
    assert isinstance(failure, Failure)
    assert "Upstream is away" in failure.words
    assert failure.retries == 2


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        (error(402, "Insufficient balance"), "see the account's quota"),
        (
            (429, {"error": {"message": "You exceeded it", "type": "insufficient_quota", "code": None}}, {}),
            "the account's",
        ),
        (error(405, "Method not allowed"), "most end in /v1"),
        (error(400, "Unsupported parameter: 'max_tokens' is not supported with this model."), "choose another"),
        (error(400, "Unsupported value: 'temperature' does not support 0 with this model."), "choose another"),
        ((422, {"error": "Unexpected keys in the request: {'top_p'}"}, {}), "takes no temperature"),
        ((422, {"detail": [{"loc": ["body"], "msg": "Extra inputs are not permitted"}]}, {}), "takes no temperature"),
        ((422, {"error": "Failed to deserialize: unknown field `top_p`"}, {}), "takes no temperature"),
        (error(400, "litellm: openai does not support parameters: ['top_p']"), "takes no temperature"),
        ((422, {"error": "`temperature` must be strictly positive"}, {}), "takes no temperature"),
    ],
)
def test_refusals_of_all_requests_say_so(reply: Reply, remedy: str) -> None:
    failure = failure_of(httpx.Response(reply[0], json=reply[1]), JUDGE)
    assert failure is not None
    assert remedy in failure.remedy
    assert failure.permanent
    assert not failure.about_request, "it is not this one prompt"


@pytest.mark.parametrize("asked", [0.0, 3.0, None])
def test_a_server_that_asks_to_come_back_at_once_is_given_time(asked: float | None) -> None:
    delays = [Failure("busy", "", wait_s=asked).delay(tried) for tried in range(3)]
    assert delays == ([3.0] * 3 if asked else [0.5, 1.0, 2.0])


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_that_drops_the_request_names_where_it_leads(status: int) -> None:
    there = Server(lambda number, body: (200, said("1"), {}), (200, LISTED, {}))
    with there.running() as address:
        target = f"{address}/chat/completions"
        here = Server(lambda number, body: (status, "", {"Location": target}), (200, LISTED, {}))
        with here.running() as old, JudgeClient(JUDGE, old) as client:
            if status in (307, 308):
                assert client.ask(CHAT, BODY, "row 1")["text"] == "1"
            else:
                with pytest.raises(PermanentError, match=rf"HTTP {status}: it leads requests elsewhere, to {target};"):
                    client.ask(CHAT, BODY, "row 1")
                assert not there.asked


def test_a_server_that_trickles_is_given_up_after_the_timeout() -> None:
    """Some send blanks while they work; each would begin httpx's time-out anew."""
    with _trickling() as address, JudgeClient(JudgeConfig(name="mine", timeout_s=0.4), address) as client:
        started = time.monotonic()
        with pytest.raises(StageError, match=r"no reply within judge\.timeout_s=0\.4"):
            client.ask(CHAT, BODY, "row 1")
        assert time.monotonic() - started < 6, "three tries, and the waits between"


@contextmanager
def _trickling() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(handler) -> None:
            handler.send_response(200)
            handler.end_headers()
            for _ in range(50):
                try:
                    handler.wfile.write(b"\n")
                except OSError:
                    return
                time.sleep(0.1)
            handler.wfile.write(json.dumps(said("1")).encode())

        def log_message(handler, *_: Any) -> None:
            """Requests are not logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with serving(server, "/v1") as address:
        yield address


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Where a shell started the tests in the background, an interrupt would be ignored."""
    before, threads = signal.signal(signal.SIGINT, signal.default_int_handler), set(threading.enumerate())
    yield
    signal.signal(signal.SIGINT, before)
    # Requests that nobody waits for keep their connections until they end; these are no other test's.
    deadline = time.monotonic() + 20
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("protocol", ["alpaca_eval", "pandalm"])
def test_an_interrupt_waits_for_no_request(protocol: str, tmp_path: Path) -> None:
    wake = threading.Event()

    def slow(number: int, body: dict[str, Any]) -> Reply:
        wake.wait(20)
        return 200, said("1"), {}

    pairs = [Pair(instruction=f"Say {n}.", answer=f"a{n}", reference=f"b{n}") for n in range(4)]
    here = threading.main_thread().ident or 0
    interrupted = partial(signal.pthread_kill, here, signal.SIGINT)
    server, interrupt = Server(slow), threading.Thread(target=lambda: _when(server.asked, interrupted))
    with server.running() as address, ResponseCache(tmp_path / "replies") as replies:
        interrupt.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ServedJudge(JUDGE, address).compare(protocol, pairs, replies=replies, work=tmp_path, progress=no_progress)
        assert time.monotonic() - started < 15
        wake.set()


def _when(asked: list[Any], act: Callable[[], None]) -> None:
    """Act once the server has been asked."""
    while not asked:
        time.sleep(0.01)
    act()


def test_equal_requests_under_way_at_once_are_asked_once(tmp_path: Path) -> None:
    """Equal answers make equal prompts, in both orders; a judge that is not deterministic must not name a winner."""
    names = iter("12" * 20)

    def slow(number: int, body: dict[str, Any]) -> Reply:
        time.sleep(0.05)
        return 200, said(next(names)), {}

    pairs = [Pair(instruction=f"Say {n}.", answer="same", reference="same") for n in range(4)] * 2
    server = Server(slow)
    with server.running() as address, ResponseCache(tmp_path / "replies") as replies:
        judge = ServedJudge(JudgeConfig(name="mine", concurrency=8), address)
        result = judge.compare("pandalm", pairs, replies=replies, work=tmp_path, progress=no_progress)
    assert len(server.asked) == 4
    assert (result.win_rate, result.conflicts) == (50.0, 8)


@pytest.mark.parametrize("given", [True, False])
def test_a_server_without_log_probabilities_is_told_where_verdicts_are_read_from_them(
    given: bool, tmp_path: Path
) -> None:
    tokens = [{"token": token, "logprob": value, "bytes": None} for token, value in (("m", -0.1), ("M", -2.5))]
    logprobs = {"content": [{**tokens[0], "top_logprobs": tokens}]}

    def reply(number: int, body: dict[str, Any]) -> Reply:
        assert body["logprobs"] is True
        answer = said("m", "length")
        answer["choices"][0]["logprobs"] = logprobs if given else None
        return 200, answer, {}

    pairs = [Pair(instruction=f"Say {n}.", answer=f"a{n}", reference=f"b{n}") for n in range(4)]
    evaluator = "package:weighted_alpaca_eval_gpt4_turbo"
    assert evaluator_folder(evaluator).is_dir()
    with Server(reply).running() as address, ResponseCache(tmp_path / "replies") as replies:
        judge = ServedJudge(JudgeConfig(name="mine", evaluator=evaluator, max_tokens=1), address)
        if given:
            assert judge.compare("alpaca_eval", pairs, replies=replies, work=tmp_path, progress=no_progress).n == 4
        else:
            with pytest.raises(
                PermanentError, match=rf"no log-probabilities, which judge\.evaluator={evaluator} reads"
            ):
                judge.compare("alpaca_eval", pairs, replies=replies, work=tmp_path, progress=no_progress)


@pytest.mark.parametrize("protocol", ["alpaca_eval", "pandalm"])
def test_unreadable_verdicts_that_were_cut_are_counted(protocol: str, tmp_path: Path) -> None:
    pairs = [Pair(instruction=f"Say {n}.", answer=f"a{n}", reference=f"b{n}") for n in range(4)]
    server = Server(lambda number, body: (200, said("Let me compare the", "length"), {}))
    with (
        server.running() as address,
        ResponseCache(tmp_path / "replies") as replies,
        pytest.raises(StageError, match=r"cannot be read .*; [48] replies were cut at judge\.max_tokens=100$"),
    ):
        ServedJudge(JUDGE, address).compare(protocol, pairs, replies=replies, work=tmp_path, progress=no_progress)


class Listing:
    """A server whose answers to GET go by the path."""

    def __init__(self, answers: dict[str, tuple[int, str, dict[str, str]]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                status, text, headers = answers.get(handler.path, (404, "not found", {}))
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(text.encode())

            def log_message(handler, *_: Any) -> None:
                """Requests are not logged."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def running(self) -> AbstractContextManager[str]:
        return serving(self._http)


def listed(*names: str) -> tuple[int, str, dict[str, str]]:
    return 200, json.dumps({"data": [{"id": name} for name in names]}), {}


@pytest.mark.parametrize(
    ("answers", "path", "model", "words"),
    [
        (
            {"/v1/models": listed("judge")},
            "",
            "judge",
            r"list of models is at (\S+)/v1/models; give judge\.endpoint=\1/v1$",
        ),
        ({"/v1/models": listed("judge")}, "/", "judge", r"give judge\.endpoint=http://[0-9.:]+/v1$"),
        ({"/v1/models": listed("judge")}, "/v1/", "judge", None),
        ({}, "/v1", "judge", None),
        ({"/models": (200, "<!doctype html><title>Chat</title>", {})}, "", "judge", "a web page answers there"),
        ({"/v1/models": (200, "[" * 100_000, {})}, "/v1", "judge", None),
        ({"/v1/models": listed("openai/*")}, "/v1", "openai/gpt-4o", None),
        ({"/v1/models": listed("openai/*")}, "/v1", "other/gpt-4o", "other/gpt-4o is not on the server"),
        ({"/v1/models": listed("a"), "/v1/models/x/b:1": (200, '{"id": "x/b:1"}', {})}, "/v1", "x/b:1", None),
        ({"/v1/models": listed("a"), "/v1/models/b": (200, '{"data": []}', {})}, "/v1", "b", "b is not on the server"),
        ({"/v1/models": listed("a"), "/v1/models/b": (200, "<html>", {})}, "/v1", "b", "b is not on the server"),
        ({"/v1/models": (301, "", {"Location": "/v1/models/"}), "/v1/models/": listed("judge")}, "/v1", "judge", None),
    ],
)
def test_addresses_and_names_that_people_give(
    answers: dict[str, tuple[int, str, dict[str, str]]], path: str, model: str, words: str | None
) -> None:
    with Listing(answers).running() as address:
        judge = JudgeConfig(name="mine", model=model, endpoint=address + path)
        if words is None:
            check_server(judge, address + path)
        else:
            with pytest.raises(UserError, match=words) as refused:
                check_server(judge, address + path)
            assert "\n" not in str(refused.value)


def test_an_address_that_leads_to_another_server_is_told_before_requests_are_lost_on_the_way() -> None:
    with Listing({"/v1/models": listed("judge")}).running() as there:
        away = {"/v1/models": (301, "", {"Location": f"{there}/v1/models"})}
        with (
            Listing(away).running() as here,
            pytest.raises(UserError, match=rf"leads requests elsewhere, to {there}/v1/"),
        ):
            check_server(JUDGE, f"{here}/v1")
