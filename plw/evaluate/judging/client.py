"""Client of a judge's OpenAI-compatible server: a request is a reply that can be read, or one line that says why not.

The key comes from the environment. Replies are kept in a cache as they come, errors never. After the first request that
stays without an answer nothing more is asked: the stage fails, and a later attempt asks for the rest.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from plw.config.judge import JudgeConfig
from plw.config.server_address import is_azure
from plw.errors import PermanentError, StageError, UnreadableError, UserError
from plw.evaluate.judging.connection import http_client
from plw.evaluate.judging.rate_limit import RateLimit
from plw.evaluate.judging.request_pool import RequestPool
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.judging.responses import (
    ADDRESS_REMEDY,
    Failure,
    body_text,
    failure_of,
    filtered_choice,
    is_filtered,
    missing_logprobs,
    read_choice,
    was_cut,
)
from plw.progress import Progress
from plw.redact import redact

CHAT, COMPLETIONS = "chat/completions", "completions"
REPLIES_KEPT = "the replies so far are kept, the same command asks for the rest"
CHECK_TIMEOUT_S = 10.0
UNREACHABLE = (httpx.RequestError, httpx.InvalidURL, UnicodeError)
"""The last two of a server's name that can be none, given or led to."""
NOT_OF_REASONING = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty")
"""Fields of a request that OpenAI's reasoning models refuse, or allow one value of."""


class JudgeClient:
    """Asks one judge; safe between threads, its connections last as long as its block.

    Args:
        judge: Name, model, key variable, concurrency and time-out.
        base_url: Address of the server, such as ``http://127.0.0.1:8000/v1``.
        cache: What the judge has said before; nothing in it is asked again.
    """

    def __init__(self, judge: JudgeConfig, base_url: str, cache: ResponseCache | None = None) -> None:
        self._judge = judge
        self._base_url = base_url
        self._cache = cache
        self._http = http_client(judge, base_url, judge.timeout_s)
        self._failed: StageError | None = None
        self._limit = RateLimit()
        self._turns: dict[str, threading.Lock] = {}
        self._cut: set[str] = set()
        self._filtered: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.stop()
        self._http.close()

    def ask(self, path: str, body: dict[str, Any], where: str) -> dict[str, Any]:
        """The reply's first choice as the server gave it, its words under ``text`` whatever kind of reply it is.

        Args:
            path: ``CHAT`` or ``COMPLETIONS``.
            body: The request.
            where: Names what is judged, for a request that can never be answered.

        Raises:
            PermanentError: the server refuses the request, and would again.
            StageError: no answer: the server is away or busy after all retries, or its reply cannot be read.
        """
        if self._judge.reasoning:
            body = reasoning_request(body)
        asked = f"{path}\n{json.dumps(body, sort_keys=True)}"
        # Equal requests wait for each other: one is paid for, and all have its reply.
        with self._turns.setdefault(asked, threading.Lock()):
            kept = None if self._cache is None else self._cache.get(asked)
            choice: dict[str, Any] = self._ask_now(path, body, where) if kept is None else json.loads(kept)
            if kept is None and self._cache is not None:
                self._cache.put(asked, json.dumps(choice))
        if was_cut(choice):
            self._cut.add(asked)
        if is_filtered(choice):
            self._filtered.add(asked)
        return choice

    def _ask_now(self, path: str, body: dict[str, Any], where: str) -> dict[str, Any]:
        try:
            return self._send(path, body, where)
        except StageError as error:
            self._failed = self._failed or error
            self._limit.stop()
            raise

    @contextmanager
    def telling_why(self) -> Iterator[None]:
        """Add to an ``UnreadableError`` of the block how many replies were cut and how many filtered."""
        try:
            yield
        except UnreadableError as error:
            told = {
                f"replies were cut at judge.max_tokens={self._judge.max_tokens}": len(self._cut),
                "replies are empty by the server's content filter": len(self._filtered),
            }
            parts = [str(error), *(f"{times} {what}" for what, times in told.items() if times)]
            raise UnreadableError("; ".join(parts), error.replies) from None

    def stop_on_error(self, progress: Progress) -> Progress:
        """``progress``, which ends all asking where it raises: the claim is lost, or the user has interrupted."""

        def watched(done: int, total: int, note: str = "") -> None:
            try:
                progress(done, total, note)
            except BaseException:
                self._limit.stop()
                raise

        return watched

    def chat_all(
        self, chats: Sequence[list[dict[str, str]]], names: Sequence[str], progress: Progress, what: str
    ) -> list[str]:
        """The judge's words on each conversation, greedy, several at a time and in their order.

        Args:
            chats: Messages of each request.
            names: What each judges, for a request that can never be answered.
            progress: Called with the requests done.
            what: The benchmark, for the progress.

        Raises:
            StageError: as ``ask``.
        """
        judge = self._judge

        def ask(messages: list[dict[str, str]], name: str) -> str:
            body = {"model": judge.model, "max_tokens": judge.max_tokens, "temperature": 0, "messages": messages}
            return str(self.ask(CHAT, body, name)["text"])

        tell, replies = self.stop_on_error(progress), []
        with RequestPool(judge.concurrency) as pool:
            for reply in pool.map(ask, chats, names):
                replies.append(reply)
                tell(len(replies), len(chats), f"{judge.name} on {what}")
        return replies

    def _send(self, path: str, body: dict[str, Any], where: str) -> dict[str, Any]:
        tried = 0
        while True:
            period = self._limit.enter()
            if period is None:
                raise self._failed or StageError(f"judge {self._judge.name}: stopped")
            found: dict[str, Any] | Failure | None = None
            try:
                found = self._try(path, body)
            finally:
                held = self._limit.leave(period, found)
            if not isinstance(found, Failure):
                return found
            if held:
                continue
            if found.of_all or tried >= found.retries:
                raise self._error(found, where)
            self._limit.sleep(found.delay(tried))
            tried += 1

    def _try(self, path: str, body: dict[str, Any]) -> dict[str, Any] | Failure:
        judge = self._judge
        try:
            response = self._post(path, body)
        except httpx.TimeoutException:
            said = f"no reply within judge.timeout_s={judge.timeout_s:g} seconds"
            return Failure(said, "raise judge.timeout_s or lower judge.concurrency", retries=2)
        except UNREACHABLE as error:
            return Failure(f"cannot be reached ({error})", "see that the server runs at this address", retries=2)
        if response.request.method != "POST":
            said = f"HTTP {response.history[0].status_code}: it leads requests elsewhere, to {response.url}"
            return Failure(said, "give the address that it leads to as judge.endpoint", permanent=True)
        if (filtered := filtered_choice(response)) is not None:
            return filtered
        failure = failure_of(response, judge)
        if failure is not None:
            return failure
        choice = read_choice(response.json(), judge)
        return missing_logprobs(choice, judge) if body.get("logprobs") else choice

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """The whole response, which a server that trickles it has no more than ``judge.timeout_s`` for.

        httpx's own time-outs begin anew with every byte.
        """
        deadline = time.monotonic() + self._judge.timeout_s
        with self._http.stream("POST", path, json=body) as response:
            received = []
            for part in response.iter_raw():
                received.append(part)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("not whole in time", request=response.request)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            content=b"".join(received),
            request=response.request,
            history=response.history,
        )

    def _error(self, failure: Failure, where: str) -> StageError:
        place = f"{where}: " if failure.about_request else ""
        line = f"judge {self._judge.name} at {self._base_url}: {place}{failure.words}; {failure.remedy}; {REPLIES_KEPT}"
        line = redact(line, self._judge.key_variable)
        return PermanentError(line) if failure.permanent else StageError(line)


def reasoning_request(body: dict[str, Any]) -> dict[str, Any]:
    """A request as OpenAI's reasoning models take it: they refuse what chooses among tokens, and count otherwise."""
    kept = {name: value for name, value in body.items() if name not in NOT_OF_REASONING}
    return kept | {"max_completion_tokens": body["max_tokens"]}


def check_server(judge: JudgeConfig, base_url: str) -> None:
    """Ask a judge's server which models it has (``GET /models``), before the work that ends with it.

    A server that keeps no such list passes.

    Raises:
        UserError: nobody answers there, the answer is a web page or leads to another server, the list is one folder
            further (``/v1``), the key is refused, or the server has no model of that name.
    """
    later = "start it, set judge.endpoint right, or leave judge out of stages until then"
    place = f"judge.endpoint={base_url}"
    try:
        with http_client(judge, base_url, CHECK_TIMEOUT_S) as client:
            response = client.get("models")
            known = _model_names(response)
            if known is None:
                _check_address(client, response, place)
            elif not is_azure(base_url) and not _serves(client, known, judge.model):
                # Azure's list is of models; requests name deployments.
                listed = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
                raise UserError(f"judge.model={judge.model} is not on the server at {base_url}; allowed: {listed}")
    except UNREACHABLE as error:
        raise UserError(f"{place}: judge {judge.name} cannot be reached ({error}); {later}") from None
    if response.status_code in (401, 403):
        failure = failure_of(response, judge)
        assert failure is not None
        raise UserError(redact(f"{place}: {failure.words}; {failure.remedy}", judge.key_variable))
    moved = [step for step in response.history if step.status_code in (301, 302, 303)]
    if moved and _origin(response.url) != _origin(moved[0].url):
        raise UserError(f"{place}: it leads requests elsewhere, to {response.url}; give the address there")


def _check_address(client: httpx.Client, response: httpx.Response, place: str) -> None:
    """That an address without a list of models is none of those that people give by mistake."""
    if response.is_success and body_text(response).lstrip().startswith("<"):
        raise UserError(f"{place}: a web page answers there; {ADDRESS_REMEDY}")
    if not response.is_success and not client.params and not str(client.base_url).endswith("/v1/"):
        further = f"{str(client.base_url).rstrip('/')}/v1"
        if _model_names(client.get(f"{further}/models")) is not None:
            raise UserError(
                f"{place}: the server's list of models is at {further}/models; give judge.endpoint={further}"
            )


def _serves(client: httpx.Client, known: list[str], model: str) -> bool:
    """Whether a model is on the list, fits a name of it that ends in a star (LiteLLM's), or is known by an alias."""
    if any(model == name or (name.endswith("*") and model.startswith(name[:-1])) for name in known):
        return True
    try:
        found = client.get(f"models/{quote(model, safe='/:')}")
        return found.is_success and isinstance(found.json().get("id"), str)
    except (*UNREACHABLE, ValueError, RecursionError, AttributeError):
        return False


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _model_names(response: httpx.Response) -> list[str] | None:
    """The names on the server's list; ``None`` where it gives none."""
    try:
        names = [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return names or None
