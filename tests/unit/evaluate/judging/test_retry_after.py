"""How long a server asks to wait: in the headers of OpenAI, Azure, Groq and of HTTP itself."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from plw.evaluate.judging.retry_after import asked_wait_s


def limits(requests: str, tokens: str, left: tuple[int, int] = (0, 0)) -> dict[str, str]:
    """As api.openai.com writes them."""
    return {
        "x-ratelimit-reset-requests": requests,
        "x-ratelimit-reset-tokens": tokens,
        "x-ratelimit-remaining-requests": str(left[0]),
        "x-ratelimit-remaining-tokens": str(left[1]),
    }


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "3"}, 3),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": "Mon, 01 Jan 0100 00:00:00 -0000"}, 0),
        ({"Retry-After": "Mon, 01 Jan 99999 00:00:00 GMT"}, None),
        ({"Retry-After-Ms": "1500", "Retry-After": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": "2", **limits("1s", "6m0s")}, 2),
        (limits("120ms", "7.66s"), pytest.approx(7.66)),
        (limits("1m30s", "6s"), 90),
        (limits("8.64s", "40s", left=(0, 39_000)), pytest.approx(8.64)),
        (limits("12ms", "20s", left=(4999, 120)), 20),
        (limits("7h12m0s", "1s", left=(0, 10)), None),
        (limits("", "tomorrow"), None),
        ({"x-ratelimit-reset-tokens": "20"}, 20),
    ],
)
def test_the_seconds_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait_s(httpx.Headers(headers)) == seconds


@pytest.mark.parametrize(("ahead_s", "seconds"), [(-60, 0), (3600, 3600)])
def test_a_date_is_waited_for(ahead_s: float, seconds: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    assert asked_wait_s({"Retry-After": date}) == pytest.approx(seconds, abs=100 if seconds else 0)
