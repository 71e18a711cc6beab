"""The hub where it cannot be reached: what is in its cache is used at once, what is not is missed at once."""

import os
import socket
from urllib.parse import urlsplit

HUB_TIMEOUT_S = 3.0
OFFLINE = "HF_HUB_OFFLINE"
PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def go_offline_if_unreachable() -> bool:
    """Set the hub's own switch where its server does not answer; otherwise each of its files is retried for 20 seconds.

    The hub's library reads the switch when it is imported, so this comes before, and worker processes inherit it.
    Behind a proxy nothing is tried: only the library knows the way.

    Returns:
        Whether the hub's library will stay offline.
    """
    if OFFLINE in os.environ:
        return os.environ[OFFLINE].upper() in ("1", "ON", "YES", "TRUE")
    if any(os.environ.get(name) for name in PROXIES):
        return False
    address = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=HUB_TIMEOUT_S).close()
    except OSError:
        os.environ[OFFLINE] = "1"
        return True
    return False
