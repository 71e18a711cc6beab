"""A server with the shape of a judge's, on loopback, that answers each request as a test says: well, badly or not."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]
"""Status, body (JSON, or text as it is) and headers."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Server:
    """Answers request after request (numbered from 1) with what ``reply`` says.

    ``asked`` are the bodies, ``paths``, ``keys`` and ``api_keys`` what stood in their requests.
    """

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], models: Reply | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.paths: set[str] = set()
        self.api_keys: set[str | None] = set()
        lock, listed = threading.Lock(), models or (200, {"data": [{"id": "judge"}]}, {})

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(handler) -> None:
                self.paths.add(handler.path)
                handler._send(*listed)

            def do_POST(handler) -> None:
                body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                with lock:
                    self.asked.append(body)
                    self.keys.add(handler.headers.get("Authorization"))
                    self.api_keys.add(handler.headers.get("api-key"))
                    self.paths.add(handler.path)
                    number = len(self.asked)
                handler._send(*reply(number, body))

            def _send(handler, status: int, body: Any, headers: dict[str, str]) -> None:
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                handler.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(data)

            def log_message(handler, *_: Any) -> None:
                """Requests are not logged."""

        self._http = _QuietServer(("127.0.0.1", 0), Handler)

    def running(self) -> AbstractContextManager[str]:
        """Its base address, while the block lasts."""
        return serving(self._http, "/v1")


@contextmanager
def serving(server: ThreadingHTTPServer, path: str = "") -> Iterator[str]:
    """Serve in a thread while the block lasts, which gets the address, ``path`` behind it."""
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
    finally:
        server.shutdown()
        server.server_close()


def said(content: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion without `usage`."""
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}]}


def error(status: int, message: str, code: object = None, **headers: str) -> Reply:
    return status, {"error": {"message": message, "code": code}}, headers
