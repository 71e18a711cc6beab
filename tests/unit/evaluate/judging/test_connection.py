"""Addresses and keys of judges: what is refused, and what reaches the server, Azure's and others."""

import httpx
import pytest

from plw.config.judge import JudgeConfig
from plw.errors import UserError
from plw.evaluate.judging.client import CHAT, JudgeClient, check_server
from plw.evaluate.judging.connection import http_client
from tests.judge_server import Server, said

BODY = {"model": "judge", "messages": [{"role": "user", "content": "Which?"}]}
AZURE = "https://x.openai.azure.com/openai/deployments/D"
TOKEN = "eyJhbGciOi.eyJhdWQi.c2lnbg"
"""As Azure's directory gives out."""


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://h:8000/v1/chat/completions", "is the address of one request; give it without /chat/completions"),
        ("http://h:8000/v1/models/", "give it without /models"),
        ("http://h:8000/models", "give it without /models"),
        (f"{AZURE}/chat/completions?api-version=1", "D/chat/completions is the address of one request"),
        (AZURE, r"lacks its api-version; allowed: 'judge\.endpoint=\"https://\S+/D\?api-version=2024-06-01\"'$"),
        (f"{AZURE}?api-version=", "has another query behind it"),
        ("https://h/openai?api-version=1&key=sk-secret", r"judge\.endpoint=https://h/openai has another query"),
        ("https://h/v1?sk-secret", r"judge\.endpoint=https://h/v1 has another query .*key comes from the environment"),
        ("https://h/v1#sk-secret", r"judge\.endpoint=https://h/v1 has a # behind it"),
        ("h/v1?key=sk-secret", "is no web address"),
    ],
)
def test_an_address_is_one_that_paths_are_added_to(endpoint: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        JudgeConfig(name="mine", endpoint=endpoint)
    assert "sk-secret" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint", [f"{AZURE}?api-version=2024-06-01", "https://x.services.ai.azure.com/models?api-version=1"]
)
def test_azures_addresses_are_taken(endpoint: str) -> None:
    assert JudgeConfig(name="mine", endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize("key", ["k-of-a-resource", TOKEN])
@pytest.mark.parametrize(
    ("address", "path", "headers"),
    [
        (f"{AZURE}?api-version=2024-06-01", "/openai/deployments/D/models?api-version=2024-06-01", {"api-key"}),
        ("https://x.openai.azure.com/openai/v1", "/openai/v1/models", {"api-key"}),
        ("https://proxy/openai/deployments/D/?api-version=1", "/openai/deployments/D/models?api-version=1", {
            "api-key", "authorization",
        }),
        ("https://azure.com.example.org/v1", "/v1/models", {"authorization"}),
    ],
)  # fmt: skip
def test_a_request_has_the_query_and_the_key_as_its_server_wants_it(
    address: str, path: str, headers: set[str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with http_client(JudgeConfig(name="mine"), address, 1.0) as client:
        request = client.build_request("GET", "models")
    assert request.url.raw_path.decode() == path
    sent = {name: request.headers[name] for name in ("api-key", "authorization") if name in request.headers}
    wanted = {"authorization"} if key == TOKEN else headers
    assert sent == {name: key if name == "api-key" else f"Bearer {key}" for name in wanted}


def test_every_request_has_the_query_also_one_that_is_asked_before_the_first_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-of-a-resource")
    server, judge = Server(lambda *_: (200, said("1"), {})), JudgeConfig(name="mine")
    with server.running() as address, JudgeClient(judge, f"{address}?api-version=2024-06-01") as client:
        check_server(judge, f"{address}?api-version=2024-06-01")
        assert client.ask(CHAT, BODY, "row 1")["text"] == "1"
    assert server.paths == {"/v1/models?api-version=2024-06-01", "/v1/chat/completions?api-version=2024-06-01"}
    assert server.api_keys == {"k-of-a-resource"}


def test_a_key_is_not_led_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-of-a-resource")
    there = Server(lambda *_: (200, said("1"), {}))
    with there.running() as target:
        here = Server(lambda *_: (307, "", {"Location": f"{target}/chat/completions"}))
        with here.running() as address, JudgeClient(JudgeConfig(name="mine"), f"{address}?api-version=1") as client:
            assert client.ask(CHAT, BODY, "row 1")["text"] == "1"
    assert (here.api_keys, here.keys) == ({"k-of-a-resource"}, {"Bearer k-of-a-resource"})
    assert (there.api_keys, there.keys) == ({None}, {None})


def test_azures_list_is_of_models_and_a_judge_is_named_by_its_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list would refuse every deployment that is not called as its model."""
    listed = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": [{"id": "gpt-4o-2024-08-06"}]}))
    monkeypatch.setattr(httpx.Client, "_transport_for_url", lambda *_: listed)
    check_server(JudgeConfig(name="mine", model="my-gpt"), "https://x.openai.azure.com/openai/v1")
    with pytest.raises(UserError, match=r"judge\.model=my-gpt is not on the server"):
        check_server(JudgeConfig(name="mine", model="my-gpt"), "https://other.example/v1")
