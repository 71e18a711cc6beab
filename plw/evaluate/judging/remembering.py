"""An HTTP client that remembers: what it has asked before, it answers from the log without asking again."""

import json
from typing import Any

import openai
from httpx2 import Request, Response

from plw.evaluate.judging.response_cache import ResponseCache


class CachingClient(openai.DefaultHttpxClient):
    """Keeps the replies to POST requests in a log. Only whole completions are kept; errors are asked again."""

    def __init__(self, replies: ResponseCache, **options: Any) -> None:
        super().__init__(**options)
        self._replies = replies

    def send(self, request: Request, **options: Any) -> Response:
        """The reply from the log, or else from the server and then into the log."""
        if request.method != "POST":
            return super().send(request, **options)
        asked = f"{request.url.path}\n{request.read().decode()}"
        kept = self._replies.get(asked)
        if kept is not None:
            return Response(200, headers={"Content-Type": "application/json"}, text=kept, request=request)
        response = super().send(request, **options)
        if response.is_success and _is_completion(response.read()):
            self._replies.put(asked, response.text)
        return response


def _is_completion(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and bool(answer.get("choices"))
