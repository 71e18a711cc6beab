"""What a judge's server answers: a choice that can be read, or a failure with the server's words and a remedy."""

import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from plw.config.evaluation import JudgeConfig
from plw.redact import redact
from plw.whole_characters import whole_characters

LONGEST_WAIT_S = 60.0
RATE_LIMIT_RETRIES = 5
TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum.{0,20}(length|tokens)|too long|reduce the length|longer than", re.IGNORECASE
)
ADDRESS_REMEDY = "see that judge.endpoint is the address of an OpenAI-compatible server (most end in /v1)"
SERVER_LOG = "see the server's own log"
OTHER_REQUESTS = re.compile(
    r"unsupported.{0,3}(parameter|value)|(parameter|argument|value)s?\b.{0,80}not supported"
    r"|unrecognized request argument",
    re.IGNORECASE,
)
BROKEN_OFF = ("error", "abort", "insufficient_system_resource")
"""Reasons for which a reply ended that are the server's trouble: OpenRouter's, vLLM's and SGLang's, DeepSeek's."""
REASONING_END = re.compile(r"\A\s*<think>.*?</think>|\A.*?^</think>", re.DOTALL | re.MULTILINE)
"""A reply up to the end of its reasoning. Of one that a template has opened only the end stands there, on a line."""
UNFINISHED_REASONING = re.compile(r"\A\s*<think>(?!.*</think>)", re.DOTALL)


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer."""

    words: str
    """What happened, in the server's words where it has said any."""
    remedy: str
    retries: int = 0
    """How often it is worth asking again."""
    wait_s: float | None = None
    """How long the server asks to wait."""
    permanent: bool = False
    """The same request will never be answered."""
    about_request: bool = False
    """It is this request that is refused, others may be answered."""

    def delay(self, tried: int) -> float:
        """Seconds to wait before the next try, doubled with each."""
        # Servers that ask to come back in 0 seconds do not mean it: all tries would be over at once.
        return min(LONGEST_WAIT_S, self.wait_s or 0.5 * 2**tried)


def failure_of(response: httpx.Response, judge: JudgeConfig) -> Failure | None:
    """Why a response is no answer; ``None`` where it is one. An error object counts whatever the status."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        if response.is_success:
            return Failure(f"the reply is not JSON: {_quoted(response, judge)!r}", ADDRESS_REMEDY)
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    if not response.is_success or error:
        return _told_error(response, error, judge)
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Failure(f"the reply has no choices: {_quoted(response, judge)!r}", ADDRESS_REMEDY)
    if choices[0].get("error"):
        return _told_error(response, choices[0]["error"], judge)
    if choices[0].get("finish_reason") in BROKEN_OFF:
        said = f"the reply was broken off (finish_reason {choices[0]['finish_reason']}): {_quoted(response, judge)!r}"
        return Failure(said, SERVER_LOG, retries=2)
    if _text(choices[0]) is not None:
        return None
    if was_cut(choices[0]):
        said = f"the reply ended at judge.max_tokens={judge.max_tokens} before its first word"
        return Failure(said, "raise judge.max_tokens, or switch the reasoning of such a model off")
    return Failure(f"the reply has no content: {_quoted(response, judge)!r}", SERVER_LOG)


def read_choice(body: dict[str, Any], judge: JudgeConfig) -> dict[str, Any]:
    """The first choice of a reply in which :func:`failure_of` sees none, its words under ``text``.

    It can be written and shown: a server may quote the key, and JSON may hold half of a surrogate pair.
    """
    usage = body.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    known = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0
    said = json.dumps(body["choices"][0], ensure_ascii=False)
    choice: dict[str, Any] = json.loads(whole_characters(redact(said, judge.key_variable)))
    return {**choice, "text": _text(choice), "total_tokens": tokens if known else 0}


def missing_logprobs(choice: dict[str, Any], judge: JudgeConfig) -> dict[str, Any] | Failure:
    """The choice, or why it is no answer to a request for log-probabilities, which the verdict is read from."""
    if choice.get("logprobs") or not choice["text"] or choice.get("finish_reason") == "content_filter":
        return choice
    remedy = "choose a server that gives them, or another evaluator"
    return Failure(f"no log-probabilities, which judge.evaluator={judge.evaluator} reads", remedy, permanent=True)


def was_cut(choice: dict[str, Any]) -> bool:
    """Whether a reply ended because it had as many tokens as it may."""
    return bool(choice.get("finish_reason") == "length")


def _told_error(response: httpx.Response, error: Any, judge: JudgeConfig) -> Failure:
    """What an error object says, or a status that is none of success; in a reply of success its code is the status."""
    status = response.status_code
    if response.is_success and isinstance(error, dict) and re.fullmatch("[0-9]{3}", str(error.get("code"))):
        status = int(error["code"])
    words = f"HTTP {response.status_code}: {server_words(response.text, error, judge)}"
    return _refusal(status, words, response.headers.get("Retry-After", ""), judge, error)


def server_words(text: str, error: Any, judge: JudgeConfig) -> str:
    """The message of an error object, or the beginning of another body, on one line, without the judge's key."""
    said = error.get("message") if isinstance(error, dict) else error
    # A key that a cut has halved is no longer found.
    return _short(redact(said if isinstance(said, str) and said else text or "no words", judge.key_variable))


def _quoted(response: httpx.Response, judge: JudgeConfig) -> str:
    return server_words(response.text, None, judge)


def _refusal(status: int, words: str, retry_after: str, judge: JudgeConfig, error: Any) -> Failure:
    wait = _seconds_until(retry_after)
    codes = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    if status in (401, 403):
        return Failure(words, f"see the key in the environment variable {judge.key_variable}", permanent=True)
    if status == 404:
        return Failure(words, f"see judge.model={judge.model} and judge.endpoint", permanent=True)
    if status == 402 or "insufficient_quota" in codes:
        return Failure(words, "see the account's quota", permanent=True)
    if status == 405:
        return Failure(words, ADDRESS_REMEDY, permanent=True)
    if status == 429:
        return Failure(words, "wait, or lower judge.concurrency", retries=RATE_LIMIT_RETRIES, wait_s=wait)
    if status >= 500 or status in (408, 409, 425):
        return Failure(words, SERVER_LOG, retries=2, wait_s=wait)
    if 400 <= status < 500 and OTHER_REQUESTS.search(words):
        other = "choose another, or ask it through a proxy that translates requests (LiteLLM's drop_params)"
        if not judge.reasoning:
            other = f"judge.reasoning=true, with a larger judge.max_tokens, asks as OpenAI's want it; or {other}"
        remedy = (
            f"judge.model={judge.model} takes no temperature, max_tokens or other field that judges are asked with, as "
            f"reasoning models: {other}"
        )
        return Failure(words, remedy, permanent=True)
    if 400 <= status < 500:
        remedy = "it can never be judged as it is"
        if TOO_LONG.search(words):
            remedy = (
                "the prompt does not fit the judge's context: serve it with a longer one, shorten the answers "
                "(suite.decoding.max_new_tokens), or lower judge.max_tokens"
            )
        return Failure(words, remedy, permanent=True, about_request=True)
    return Failure(words, SERVER_LOG)


def _seconds_until(retry_after: str) -> float | None:
    """What a Retry-After header asks for: seconds, or a date (RFC 9110, 10.2.3); None where it asks for nothing."""
    if re.fullmatch(r"\d+(\.\d+)?", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _text(choice: dict[str, Any]) -> str | None:
    """The words of a choice: its text, its message's content, refusal or call; ``None`` where there are none.

    Reasoning before the words is none of them. Nothing said on purpose (an empty reply, a filtered one) is a reply,
    which no parser will understand; nothing said because the tokens ran out is none.
    """
    if "message" not in choice:
        found = choice.get("text")
        return _spoken(found, choice) if isinstance(found, str) else None
    message = choice["message"]
    if not isinstance(message, dict):
        return None
    calls = message.get("tool_calls") or []
    call = message.get("function_call") or (calls[0].get("function") if calls else None)
    content = _joined(message.get("content"))
    if isinstance(call, dict) and isinstance(call.get("arguments"), str) and call["arguments"]:
        return str(call["arguments"])
    if content:
        return _spoken(content, choice)
    if isinstance(message.get("refusal"), str):
        return str(message["refusal"])
    if choice.get("finish_reason") == "content_filter":
        return ""
    return None if content is None else _spoken(content, choice)


def _joined(content: Any) -> Any:
    """The texts of a content in parts, as Mistral's API writes it; parts of another type are reasoning."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _spoken(text: str, choice: dict[str, Any]) -> str | None:
    """A text without the reasoning before it; ``None`` where the tokens ran out before the first word."""
    spoken, found = REASONING_END.subn("", text, count=1)
    if found:
        spoken = spoken.lstrip()
    elif UNFINISHED_REASONING.match(text):
        spoken = ""
    return spoken if spoken or not was_cut(choice) else None


def _short(text: str, limit: int = 300) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
