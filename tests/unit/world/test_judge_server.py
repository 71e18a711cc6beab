"""The judge's server spoken to by the openai package and by clients that make mistakes."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from plw.world.server import MAX_BODY, JudgeServer


def shout(prompt: str) -> str:
    if "boom" in prompt:
        raise ValueError("no answer to that")
    return prompt.upper()


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    with JudgeServer(shout, model="shouter") as running:
        yield running


@pytest.fixture
def client(server: JudgeServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="EMPTY", max_retries=0) as opened:
        yield opened


def raw(server: JudgeServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello you"}]
    )

    assert answer.choices[0].message.content == "BE KIND\n\nHELLO YOU"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (4, 4, 8)


def test_chat_content_in_parts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": [{"type": "text", "text": "in parts"}]}]
    )

    assert answer.choices[0].message.content == "IN PARTS"


def test_completions_of_several_prompts(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="any", prompt=["one", "two"])

    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "ONE"), (1, "TWO")]
    assert client.completions.create(model="any", prompt="three").choices[0].text == "THREE"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["shouter"]
    assert client.models.retrieve("shouter").id == "shouter"


def test_answers_go_to_those_who_asked(client: openai.OpenAI) -> None:
    def ask(number: int) -> str | None:
        messages: Any = [{"role": "user", "content": f"n{number}"}]
        return client.chat.completions.create(model="any", messages=messages).choices[0].message.content

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(100))) == [f"N{number}" for number in range(100)]


def test_an_answer_that_fails_is_a_server_error_and_the_server_lives_on(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError, match="no answer to that"):
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "boom"}])

    assert client.completions.create(model="any", prompt="on").choices[0].text == "ON"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/chat/completions", b"{", 400, "not JSON"),
        ("/v1/chat/completions", b"\xff", 400, "not JSON"),
        ("/v1/chat/completions", b"[" * 100_000, 400, "not JSON"),
        ("/v1/chat/completions", b"[1]", 400, "not a JSON object"),
        ("/v1/chat/completions", b"{}", 400, "'messages'"),
        ("/v1/chat/completions", b'{"messages": []}', 400, "'messages'"),
        ("/v1/chat/completions", b'{"messages": [{"role": "user"}]}', 400, "'content'"),
        ("/v1/chat/completions", b'{"messages": ["hi"]}', 400, "'content'"),
        ("/v1/chat/completions", b'{"messages": [{"content": "a"}], "stream": true}', 400, "'stream'"),
        ("/v1/chat/completions", b'{"messages": [{"content": "a"}], "n": 2}', 400, "'n'"),
        ("/v1/completions", b'{"prompt": 3}', 400, "'prompt'"),
        ("/v1/completions", b'{"prompt": []}', 400, "'prompt'"),
        ("/v1/embeddings", b"{}", 404, "no such path"),
    ],
)
def test_bad_requests_get_the_protocols_error(
    server: JudgeServer, path: str, body: bytes, status: int, said: str
) -> None:
    found, payload = raw(server, "POST", path, body)

    assert found == status
    assert said in payload["error"]["message"]
    assert payload["error"]["type"] in ("invalid_request_error", "not_found_error")


def test_a_request_without_or_of_absurd_length_is_refused(server: JudgeServer) -> None:
    assert raw(server, "GET", "/etc/passwd")[0] == 404
    assert raw(server, "POST", "/v1/completions", b"", **{"Content-Length": str(MAX_BODY + 1)})[0] == 413
    assert raw(server, "POST", "/v1/completions", iter([b"{}"]), **{"Transfer-Encoding": "chunked"})[0] == 411  # type: ignore[arg-type]


def test_it_listens_on_loopback_only(server: JudgeServer) -> None:
    address = urlsplit(server.base_url)
    assert address.hostname == "127.0.0.1"
    assert address.port is not None
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for other in others:
        if not str(other).startswith("127."):
            with pytest.raises(OSError), socket.create_connection((str(other), address.port), timeout=2):
                pass


def test_after_the_block_nothing_listens_and_no_thread_serves() -> None:
    with JudgeServer(shout) as server:
        address = urlsplit(server.base_url)
        assert raw(server, "GET", "/v1/models")[0] == 200

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", address.port or 0), timeout=2)
    assert not [thread for thread in threading.enumerate() if thread.name == "judge-server" and not thread.daemon]
