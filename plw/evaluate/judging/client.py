"""Clients of OpenAI-compatible servers: the key comes from the environment, connections last as long as the block."""

import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plw.config.evaluation import JudgeConfig
from plw.evaluate.judging.response_cache import ResponseCache

if TYPE_CHECKING:
    import openai

NO_KEY = "EMPTY"
"""Sent where the environment holds no key: servers on one's own machine ask for none."""

_OPEN: dict[str, "openai.OpenAI"] = {}
_NUMBERS = count()


@contextmanager
def open_client(
    judge: JudgeConfig, base_url: str, replies: ResponseCache | None = None
) -> Iterator[tuple["openai.OpenAI", str]]:
    """A client of ``base_url`` and the ticket by which :func:`held_client` finds it while the block runs.

    With ``replies``, what stands in that log is not asked again. Proxies of the environment are not used for addresses
    of this machine.
    """
    import openai

    options: dict[str, Any] = {"trust_env": not _is_loopback(base_url), "timeout": judge.timeout_s}
    if replies is None:
        transport = openai.DefaultHttpxClient(**options)
    else:
        from plw.evaluate.judging.remembering import CachingClient

        transport = CachingClient(replies, **options)
    client = openai.OpenAI(
        base_url=base_url,
        api_key=os.environ.get(judge.key_variable) or NO_KEY,
        timeout=judge.timeout_s,
        max_retries=2,
        http_client=transport,
    )
    ticket = str(next(_NUMBERS))
    _OPEN[ticket] = client
    try:
        yield client, ticket
    finally:
        del _OPEN[ticket]
        client.close()


def held_client(*, ticket: str, **_: Any) -> "openai.OpenAI":
    """The open client of a ticket: alpaca_eval calls this instead of making a client, and reading a key, each time."""
    return _OPEN[ticket]


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
