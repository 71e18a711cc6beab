"""How long a server asks to wait, by the headers of its refusal."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

NOT_WAITED_FOR_S = 300.0
"""A server that asks for more (a day's limit is used up) is not asked again."""
LIMITS = ("requests", "tokens")
"""What OpenAI and those that do as it does count: ``x-ratelimit-remaining-*``, ``x-ratelimit-reset-*``."""
UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
DECIMAL = r"[0-9]+(?:\.[0-9]+)?"


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; ``None`` where it asks for nothing that can be read.

    ``retry-after-ms`` (OpenAI, Azure), else ``Retry-After``, else the time after which the limits are whole again: of
    those with nothing left, or of all. Such a time counts up to ``NOT_WAITED_FOR_S``; some is there sooner.

    Args:
        headers: By name, whose case does not count.
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if re.fullmatch(DECIMAL, milliseconds):
        return float(milliseconds) / 1000
    asked = _seconds_until(headers.get("Retry-After", "").strip())
    if asked is not None:
        return asked
    resets = {name: _duration_s(headers.get(f"x-ratelimit-reset-{name}", "").strip()) for name in LIMITS}
    used_up = [name for name in LIMITS if headers.get(f"x-ratelimit-remaining-{name}", "").strip() == "0"]
    found = [seconds for name in used_up or LIMITS if (seconds := resets[name]) is not None]
    longest = max(found, default=None)
    return longest if longest is not None and longest <= NOT_WAITED_FOR_S else None


def _seconds_until(retry_after: str) -> float | None:
    """What a Retry-After header asks for: seconds, or a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(DECIMAL, retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError, TypeError):
        return None


def _duration_s(text: str) -> float | None:
    """A length of time as OpenAI writes it: ``1s``, ``6m0s``, ``120ms``; a bare number is seconds."""
    if re.fullmatch(DECIMAL, text):
        return float(text)
    if not re.fullmatch(rf"(?:{DECIMAL}(?:h|ms|m|s|us|µs))+", text):
        return None
    parts = re.findall(rf"({DECIMAL})(h|ms|m|s|us|µs)", text)
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)
