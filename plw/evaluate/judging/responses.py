"""What a judge's server answers: a choice that can be read, or a failure with the server's words and a remedy."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from plw.config.judge import JudgeConfig
from plw.errors import shortened
from plw.evaluate.judging.retry_after import NOT_WAITED_FOR_S, asked_wait_s
from plw.evaluate.judging.thinking import spoken_words
from plw.files.whole_characters import whole_characters
from plw.redact import redact

LONGEST_WAIT_S = 300.0
RATE_LIMIT_RETRIES = 7
"""Where the server does not say how long, the waits last longer than the minute that most limits are of."""
TOO_LONG = re.compile(
    r"context.?(length|window|size)|maximum.{0,20}(length|tokens)|too long|reduce the length|longer than", re.IGNORECASE
)
ADDRESS_REMEDY = "see that judge.endpoint is the address of an OpenAI-compatible server (most end in /v1)"
QUOTED_LETTERS = 300
"""Of what a server says that a line quotes."""
SERVER_LOG = "see the server's own log"
REASONING_ALONE = (
    "all of it was taken for reasoning: see that the server's reasoning parser is the model's, or leave it out (vLLM's "
    "--reasoning-parser, llama.cpp's --reasoning-format none)"
)
RATE_LIMITED = 429
NOT_NOW = (RATE_LIMITED, 503, 529)
"""Statuses of a server that answers nobody for now: a limit, a model that is being loaded (llama.cpp, TGI) or too many
requests at once (OpenAI, Anthropic)."""
FILTERED_CODES = ("content_filter", "content_policy_violation", "invalid_prompt", "data_inspection_failed")
"""Codes of an error that refuses a prompt for what it says: Azure's and LiteLLM's, OpenAI's, Alibaba's."""
FILTERED_WORDS = re.compile(
    r"ContentPolicyViolation|content management policy|content exists risk|(prompt|input) (was|has been) flagged",
    re.IGNORECASE,
)
"""Words of such an error where it has no such code: LiteLLM's, Azure's, DeepSeek's, OpenRouter's."""
FILTERED = "content_filter"
"""The reason for which a reply ended, or never began, that is a filter's."""
OTHER_REQUESTS = re.compile(
    r"unsupported.{0,3}(parameter|value)|(parameter|argument|value)s?\b.{0,80}not supported"
    r"|(unrecognized|unexpected|unknown)( request)? (argument|parameter|field|key|property)s?\b"
    r"|extra (field|input)s|additional properties|not support (the )?(parameter|argument)s?\b"
    r"|temperature.{0,40}(positive|greater than)",
    re.IGNORECASE,
)
"""Words by which a server refuses a field of a request: OpenAI's, `transformers serve`'s, those of pydantic (vLLM,
Mistral), serde (TGI) and LiteLLM."""
BROKEN_OFF = ("error", "abort", "insufficient_system_resource")
"""Reasons for which a reply ended that are the server's trouble: OpenRouter's, vLLM's and SGLang's, DeepSeek's."""
CUT = ("length", "model_length")
"""Reasons for which a reply ended that are a limit's: the request's, and Mistral's for the model's context."""


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
    of_all: bool = False
    """It holds for other requests as well: nobody asks before the wait is over."""
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
        limit = f"judge.max_tokens={judge.max_tokens}" if choices[0]["finish_reason"] == CUT[0] else "the context's end"
        said = f"the reply ended at {limit} before its first word"
        return Failure(said, "raise judge.max_tokens, or switch the reasoning of such a model off")
    remedy = REASONING_ALONE if _reasoning_alone(choices[0]) else SERVER_LOG
    return Failure(f"the reply has no content: {_quoted(response, judge)!r}", remedy)


def read_choice(body: dict[str, Any], judge: JudgeConfig) -> dict[str, Any]:
    """The first choice of a reply in which :func:`failure_of` sees none, its words under ``text``.

    It can be written and shown: a server may quote the key, and JSON may hold half of a surrogate pair.
    """
    usage = body.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    known = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0
    said = json.dumps(body["choices"][0], ensure_ascii=False)
    choice: dict[str, Any] = json.loads(whole_characters(redact(said, judge.key_variable)))
    model = body.get("model")
    of_reply = {"model": whole_characters(redact(model, judge.key_variable))} if isinstance(model, str) else {}
    return {**choice, **of_reply, "text": _text(choice), "total_tokens": tokens if known else 0}


def words_of_kept(reply: str) -> str:
    """What the judge said in a reply of a server, as it was kept."""
    return str(json.loads(reply)["text"])


def served(replies: Iterable[str]) -> dict[str, Any]:
    """What a server has answered in all, as its replies were kept: how many, the tokens that it counts, its models.

    A name such as ``gpt-4o-mini`` stands for another model from time to time; replies name the one that answered.
    """
    choices = [json.loads(reply) for reply in replies]
    return {
        "replies": len(choices),
        "tokens": sum(choice["total_tokens"] for choice in choices),
        "models": sorted({choice["model"] for choice in choices if "model" in choice}),
    }


def filtered_choice(response: httpx.Response) -> dict[str, Any] | None:
    """An empty choice for a prompt that the server's filter refuses, as for a reply that it takes back."""
    if response.status_code not in (400, 403, 422):
        return None
    error = _error_object(response)
    codes = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    if not any(code in FILTERED_CODES for code in codes) and not FILTERED_WORDS.search(body_text(response)):
        return None
    return {"finish_reason": FILTERED, "text": "", "total_tokens": 0}


def body_text(response: httpx.Response) -> str:
    """A body as text. JSON is UTF-8 whatever the header says, which may name what is no encoding of text."""
    return response.content.decode(errors="replace")


def _error_object(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body.get("error") if isinstance(body, dict) else None


def missing_logprobs(choice: dict[str, Any], judge: JudgeConfig) -> dict[str, Any] | Failure:
    """The choice, or why it is no answer to a request for log-probabilities, which the verdict is read from."""
    if choice.get("logprobs") or not choice["text"] or is_filtered(choice):
        return choice
    remedy = "choose a server that gives them, or another evaluator"
    return Failure(f"no log-probabilities, which judge.evaluator={judge.evaluator} reads", remedy, permanent=True)


def was_cut(choice: dict[str, Any]) -> bool:
    """Whether a reply ended because it had as many tokens as it may, or as the context holds."""
    return choice.get("finish_reason") in CUT


def is_filtered(choice: dict[str, Any]) -> bool:
    """Whether a filter of the server's has taken a reply, or the prompt."""
    return bool(choice.get("finish_reason") == FILTERED)


def _told_error(response: httpx.Response, error: Any, judge: JudgeConfig) -> Failure:
    """What an error object says, or a status that is none of success; in a reply of success its code is the status."""
    status = response.status_code
    if response.is_success and isinstance(error, dict) and re.fullmatch("[0-9]{3}", str(error.get("code"))):
        status = int(error["code"])
    words = f"HTTP {response.status_code}: {server_words(body_text(response), error, judge)}"
    return _refusal(status, words, asked_wait_s(response.headers), judge, error)


def server_words(text: str, error: Any, judge: JudgeConfig) -> str:
    """The message of an error object, or the beginning of another body, on one line, without the judge's key."""
    said = error.get("message") if isinstance(error, dict) else error
    # A key that a cut has halved is no longer found.
    words = redact(said if isinstance(said, str) and said else text or "no words", judge.key_variable)
    return shortened(" ".join(words.split()), QUOTED_LETTERS)


def _quoted(response: httpx.Response, judge: JudgeConfig) -> str:
    return server_words(body_text(response), None, judge)


def _refusal(status: int, words: str, wait: float | None, judge: JudgeConfig, error: Any) -> Failure:
    codes = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    if status in (401, 403):
        return Failure(words, f"see the key in the environment variable {judge.key_variable}", permanent=True)
    if status == 404:
        return Failure(words, f"see judge.model={judge.model} and judge.endpoint", permanent=True)
    if status == 402 or "insufficient_quota" in codes:
        return Failure(words, "see the account's quota", permanent=True)
    if status == 405:
        return Failure(words, ADDRESS_REMEDY, permanent=True)
    if status in NOT_NOW and wait is not None and wait > NOT_WAITED_FOR_S:
        return Failure(f"{words} (asks to come back in {wait:,.0f} seconds)", "ask again then")
    if status in NOT_NOW:
        remedy = "wait, or lower judge.concurrency" if status == RATE_LIMITED else f"wait, or {SERVER_LOG}"
        return Failure(words, remedy, retries=RATE_LIMIT_RETRIES, wait_s=wait, of_all=True)
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


def _text(choice: dict[str, Any]) -> str | None:
    """The words of a choice: its text, its message's content, refusal or call; ``None`` where there are none.

    Reasoning before the words is none of them. Nothing said on purpose (an empty reply, a filtered one) is a reply,
    which no parser will understand; nothing said because the tokens ran out is none.
    """
    nothing = "" if is_filtered(choice) else None
    if "message" not in choice:
        found = choice.get("text")
        return _spoken(found, choice) if isinstance(found, str) else nothing
    message = choice["message"]
    if not isinstance(message, dict):
        return nothing
    content = _joined(message.get("content"))
    if arguments := _arguments(message):
        return arguments
    if content:
        return _spoken(content, choice)
    if isinstance(message.get("refusal"), str):
        return str(message["refusal"])
    return nothing if content is None else _spoken(content, choice)


def _reasoning_alone(choice: dict[str, Any]) -> bool:
    """Whether all that was said is what was thought, in the field that a server's parser puts it into."""
    message = choice.get("message")
    return isinstance(message, dict) and any(message.get(name) for name in ("reasoning_content", "reasoning"))


def _arguments(message: dict[str, Any]) -> str | None:
    """What a call of a function is given, the older form before the newer; ``None`` where there is no such call."""
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    call = message.get("function_call") or (first.get("function") if isinstance(first, dict) else None)
    arguments = call.get("arguments") if isinstance(call, dict) else None
    return arguments if isinstance(arguments, str) else None


def _joined(content: Any) -> Any:
    """The texts of a content in parts, as Mistral's API writes it; parts of another type are reasoning."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else None
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _spoken(text: str, choice: dict[str, Any]) -> str | None:
    """A text without the reasoning before it; ``None`` where the tokens ran out before the first word."""
    spoken = spoken_words(text)
    return spoken if spoken or not was_cut(choice) else None
