"""An OpenAI-compatible server on loopback around a function from prompt to answer: judges go through a real client."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any

MAX_BODY = 8 * 2**20
"""Bytes of the longest request that is read."""

Answer = Callable[[str], str]


class RequestError(Exception):
    """A request that is answered with an HTTP error instead of a completion."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class JudgeServer:
    """Serves ``/v1/models``, ``/v1/chat/completions`` and ``/v1/completions`` on 127.0.0.1 while the block runs.

    The prompt that ``answer`` sees is the text of a chat's messages joined by blank lines, or a completion's prompt.
    Usage counts words. ``answer`` is called from several threads at once; what it raises becomes an HTTP 500.
    """

    def __init__(self, answer: Answer, *, model: str = "judge") -> None:
        self._server = _Server(answer, model)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="judge-server", daemon=True
        )

    @property
    def base_url(self) -> str:
        """The address a client takes as ``base_url``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "JudgeServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, answer: Answer, model: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.model = model
        self.numbers = count(1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._reply(self._models)

    def do_POST(self) -> None:
        self._reply(self._completion)

    def _reply(self, make: Callable[[], dict[str, Any]]) -> None:
        try:
            status, payload = 200, make()
        except RequestError as error:
            status, payload = error.status, _error(str(error), error.kind)
        except Exception as error:
            status, payload = 500, _error(f"{type(error).__name__}: {error}", "server_error")
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status >= 400:
            # The body of a refused request may not have been read.
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _models(self) -> dict[str, Any]:
        model = {"id": self.server.model, "object": "model", "created": 0, "owned_by": "local"}
        if self.path.rstrip("/") == "/v1/models":
            return {"object": "list", "data": [model]}
        if self.path == f"/v1/models/{self.server.model}":
            return model
        raise RequestError(404, f"no such path: {self.path}", "not_found_error")

    def _completion(self) -> dict[str, Any]:
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            raise RequestError(404, f"no such path: {self.path}", "not_found_error")
        request = self._read()
        if request.get("stream"):
            raise RequestError(400, "'stream' is not supported")
        if request.get("n", 1) != 1:
            raise RequestError(400, "'n' must be 1")
        chat = self.path == "/v1/chat/completions"
        prompts = [_chat_prompt(request)] if chat else _completion_prompts(request)
        answers = [self.server.answer(prompt) for prompt in prompts]
        prompt_words = sum(len(prompt.split()) for prompt in prompts)
        answer_words = sum(len(answer.split()) for answer in answers)
        number = next(self.server.numbers)
        return {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{number}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": str(request.get("model", self.server.model)),
            "choices": [_choice(index, answer, chat=chat) for index, answer in enumerate(answers)],
            "usage": {
                "prompt_tokens": prompt_words,
                "completion_tokens": answer_words,
                "total_tokens": prompt_words + answer_words,
            },
        }

    def _read(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise RequestError(411, "Content-Length is missing")
        if int(length) > MAX_BODY:
            raise RequestError(413, f"the request is longer than {MAX_BODY} bytes")
        try:
            request = json.loads(self.rfile.read(int(length)))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(400, f"the body is not JSON: {error}") from None
        if not isinstance(request, dict):
            raise RequestError(400, "the body is not a JSON object")
        return request

    def log_message(self, *args: Any) -> None:
        """Requests are not logged."""


def _chat_prompt(request: Mapping[str, Any]) -> str:
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "'messages' must be a list with at least one message")
    return "\n\n".join(_message_text(message) for message in messages)


def _message_text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    raise RequestError(400, "each message needs a 'content' of text")


def _completion_prompts(request: Mapping[str, Any]) -> list[str]:
    prompt = request.get("prompt")
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list) or not prompts or not all(isinstance(item, str) for item in prompts):
        raise RequestError(400, "'prompt' must be a text or a list of texts")
    return prompts


def _choice(index: int, answer: str, *, chat: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"message": {"role": "assistant", "content": answer}} if chat else {"text": answer}
    return {"index": index, **body, "finish_reason": "stop", "logprobs": None}


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
