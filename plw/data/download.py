"""One file from an https address to its place, whole or not at all."""

import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from plw.data.inputs import check_address
from plw.errors import UserError
from plw.progress import Progress, no_progress

if TYPE_CHECKING:
    pass

DOWNLOAD_CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0


def download(address: str, place: Path, field: str, progress: Progress = no_progress) -> None:
    """Fetch ``address`` and rename the finished file to ``place``; a reader never sees a part of it.

    Args:
        address: https, or http on loopback; so must be every address that it redirects to.
        place: the file to make; its folder is made too.
        field: the config field that names the address, for the message.
        progress: is told the bytes that have come, and all of them where the server says how many.

    Raises:
        UserError: it cannot be fetched; the line says what, from where, and where a copy of it can be put.
    """
    import httpx

    check_address(address, field)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.", suffix=".tmp")
    except OSError as error:
        raise UserError(f"{place.parent}: cannot be written ({error.strerror}); choose another cache folder") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            _fetch(address, file, field, progress)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except (OSError, httpx.HTTPError) as error:
        raise UserError(
            f"{field}={address}: cannot be fetched ({_reason(error)}); "
            f"without a network, fetch it elsewhere and put it at {place}"
        ) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _fetch(address: str, file: IO[bytes], field: str, progress: Progress) -> None:
    import httpx

    def check(request: httpx.Request) -> None:
        # Called for each redirect too: one leads only to where a config could have pointed.
        if str(request.url) != address:
            check_address(str(request.url), f"{field}={address} redirects to")

    headers = {"User-Agent": "plw", "Accept-Encoding": "identity"}
    hooks = {"request": [check]}
    with (
        httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True, event_hooks=hooks) as client,
        client.stream("GET", address) as answer,
    ):
        answer.raise_for_status()
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        for chunk in answer.iter_raw(DOWNLOAD_CHUNK_BYTES):
            file.write(chunk)
            done += len(chunk)
            progress(done, max(total, done), f"fetching {address}")


def _reason(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return f"the server says {error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__
