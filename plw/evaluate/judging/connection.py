"""A connection to a judge's server: its address, the key as the server wants it, and the way there."""

import ipaddress
import os
import re
from urllib.parse import parse_qsl, urlsplit

import httpx

from plw.config.judge import JudgeConfig
from plw.config.server_address import is_azure
from plw.errors import UserError

API_KEY = "api-key"
ACCESS_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
"""Form of a token of Azure's directory (a JSON web token), which is sent as other servers are sent their keys."""


def http_client(judge: JudgeConfig, base_url: str, timeout_s: float) -> httpx.Client:
    """A client whose requests' paths are added to an address and go with its query and the judge's key.

    The environment's proxies are not used for addresses of this machine.

    Args:
        judge: Who is asked: key variable and concurrency.
        base_url: Such as ``http://127.0.0.1:8000/v1``, or with Azure's ``?api-version=DATE`` behind it.
        timeout_s: Seconds until a step of a request is given up.

    Raises:
        UserError: the key holds what no header can carry.
    """
    address = urlsplit(base_url)
    query = dict(parse_qsl(address.query))
    client = httpx.Client(
        base_url=address._replace(query="").geturl(),
        params=query,
        headers=_key_headers(_key(judge.key_variable), azure=is_azure(base_url), versioned=bool(query)),
        timeout=timeout_s,
        limits=httpx.Limits(max_connections=judge.concurrency),
        follow_redirects=True,
        trust_env=not _is_loopback(base_url),
    )

    def keep_key(request: httpx.Request) -> None:
        # httpx takes the other header, and no more, from a request that a server leads elsewhere.
        if (request.url.scheme, request.url.host, request.url.port) != home:
            request.headers.pop(API_KEY, None)

    home = (client.base_url.scheme, client.base_url.host, client.base_url.port)
    client.event_hooks = {"request": [keep_key]}
    return client


def _key_headers(key: str, *, azure: bool, versioned: bool) -> dict[str, str]:
    """The key as Azure, others, and proxies before Azure (which read one or the other) want it."""
    bearer, api_key = {"Authorization": f"Bearer {key}"}, {API_KEY: key}
    if not key:
        return {}
    if not (azure or versioned) or ACCESS_TOKEN.fullmatch(key):
        return bearer
    return api_key if azure else bearer | api_key


def _key(variable: str) -> str:
    """The key, without the line break of the file that it was read from; empty where there is none.

    Raises:
        UserError: it holds what no header can carry.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and (key.isprintable() or not key)):
        raise UserError(
            f"the environment variable {variable} holds no key: a line break or a character that is not ASCII stands "
            "within it; set it to the key alone"
        )
    return key


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
