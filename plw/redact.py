"""Keys never reach what is stored or shown: the values of the environment's secrets are taken out of a text."""

import json
import os
import re
from collections.abc import Iterator
from urllib.parse import quote

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
"""Names of environment variables that hold a secret."""
SHORTEST = 8
"""Shorter values are switches and place holders (``TOKENIZERS_PARALLELISM=false``, ``OPENAI_API_KEY=EMPTY``)."""


def redact(text: str, *variables: str) -> str:
    """``text`` with ``[NAME]`` in place of each secret of the environment that stands in it.

    Args:
        text: What is to be stored or shown, such as a server's words.
        variables: Further variables that hold a secret whatever their names.
    """
    secrets = {
        written: name
        for name, value in os.environ.items()
        if name in variables or SECRET_NAME.search(name)
        for written in _ways_to_write(value)
        if len(written) >= SHORTEST
    }
    # The longest first: one secret may be a part of another.
    for written, name in sorted(secrets.items(), key=lambda item: -len(item[0])):
        text = text.replace(written, f"[{name}]")
    return text


def _ways_to_write(value: str) -> Iterator[str]:
    """As it is, without the line break of a file that it was read from, and as addresses, JSON and Python quote it."""
    for bare in (value, value.strip()):
        yield from (bare, quote(bare, safe=""), json.dumps(bare)[1:-1], repr(bare)[1:-1])
