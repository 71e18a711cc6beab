"""One file from an https address to its place, whole or not at all."""

import http.client
import os
import tempfile
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from plw.errors import UserError
from plw.inputs import check_address
from plw.progress import Progress, no_progress

CHUNK = 1 << 20
TIMEOUT_S = 60.0


def download(address: str, place: Path, progress: Progress = no_progress) -> None:
    """Fetch ``address`` and rename the finished file to ``place``; a reader never sees a part of it.

    Args:
        address: https, or http on loopback; so must be every address that it redirects to.
        place: the file to make; its folder is made too.
        progress: hears the bytes that have come, and all of them where the server says how many.

    Raises:
        UserError: it cannot be fetched; the line says what, from where, and where a copy of it can be put.
    """
    check_address(address, "dataset.path")
    how = f"without a network, fetch it elsewhere and put it at {place}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.", suffix=".tmp")
    except OSError as error:
        raise UserError(f"{place.parent}: cannot be written ({error.strerror}); choose another cache folder") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            _fetch(address, file, progress)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"dataset.path={address}: cannot be fetched ({_reason(error)}); {how}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def _fetch(address: str, file: IO[bytes], progress: Progress) -> None:
    request = Request(address, headers={"User-Agent": "plw", "Accept-Encoding": "identity"})  # noqa: S310 - checked
    with build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S) as answer:
        total, done = int(answer.headers.get("Content-Length") or 0), 0
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            progress(done, max(total, done), f"fetching {address}")
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a redirect only to where a config could have pointed."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        try:
            check_address(newurl, f"dataset.path={req.full_url} redirects to")
        except UserError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        error.close()
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
