"""Keys never reach what is stored or shown: the values of the environment's secrets are taken out of a text."""

import os
import re
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
        value: name
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and (name in variables or SECRET_NAME.search(name))
    }
    # The longest first: one secret may be a part of another.
    for value, name in sorted(secrets.items(), key=lambda item: -len(item[0])):
        for written in (value, quote(value, safe="")):
            text = text.replace(written, f"[{name}]")
    return text
