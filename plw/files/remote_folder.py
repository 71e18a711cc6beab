"""A folder at any fsspec address (s3://, gs://, sftp://, file://, ...): files are put there whole or not at all."""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from plw.errors import UserError
from plw.redact import redact

OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci", "memory"))
"""Protocols whose put shows the whole file at once; elsewhere a file gets its name when it is whole."""
LOCAL = frozenset(("file", "local"))
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Protocol -> the package that fsspec needs for it, of those that are usual."""
PROBE = ".plw-writable"
READ_AT_ONCE = 256


class RemoteFolder:
    """A folder at an address.

    Args:
        address: as fsspec takes it; credentials come from the environment, as its package reads them.
        field: the config's field, for messages.

    Raises:
        UserError: no such protocol, its package is missing, or the address holds a password.
    """

    def __init__(self, address: str, field: str) -> None:
        from fsspec.core import url_to_fs

        self.address = address.rstrip("/")
        self._named = f"{field}={address}"
        protocol = address.partition("://")[0] if "://" in address else "file"
        if urlsplit(address).password is not None:
            raise UserError(f"{field}: the address holds a password; leave it out, it is taken from the environment")
        package = PACKAGES.get(protocol)
        if package is not None and importlib.util.find_spec(package) is None:
            extra = "'plw[publish]'" if package == "s3fs" else package
            raise UserError(f"{self._named} needs the package {package}, which is not installed: pip install {extra}")
        try:
            self._fs, root = url_to_fs(address)
        except (ValueError, ImportError) as error:
            raise UserError(f"{self._named}: {reason_of(error)}") from None
        self._root = root.rstrip("/")
        self._whole_puts = protocol in OBJECT_STORES
        self.local = Path(self._root) if protocol in LOCAL else None
        """Its path, where it is on this machine."""
        self.at_once = 8 if self._whole_puts else 1
        """Files that may be put at a time."""

    def check_writable(self) -> None:
        """Put a small file there and remove it.

        Raises:
            UserError: it cannot be put; the line has the reason.
        """
        try:
            self.put_bytes(b"plw\n", PROBE)
        except Exception as error:
            raise UserError(f"{self._named} cannot be written: {reason_of(error)}") from None
        # Who may write may lack the right to remove; the file does no harm.
        with suppress(Exception):
            self._fs.rm_file(self._path(PROBE))

    def put(self, file: Path, name: str) -> None:
        """Copy a file to ``name`` below the folder, over what is there; raises what the file system raises."""
        self.put_bytes(file.read_bytes(), name)

    def put_bytes(self, data: bytes, name: str) -> None:
        """As :func:`put`."""
        target = self._path(name)
        if self._whole_puts:
            self._fs.pipe_file(target, data)
            return
        folder, _, last = target.rpartition("/")
        self._fs.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{last}.{token_hex(4)}.tmp"
        try:
            self._fs.pipe_file(temporary, data)
            self._rename(temporary, target)
        except BaseException:
            if self._fs.exists(temporary):
                self._fs.rm_file(temporary)
            raise

    def _rename(self, temporary: str, target: str) -> None:
        try:
            self._fs.mv(temporary, target)
        except Exception:
            # Some file systems do not rename over a file that is there.
            if not self._fs.exists(target):
                raise
            self._fs.rm_file(target)
            self._fs.mv(temporary, target)

    def sizes(self, inside: str) -> dict[str, int]:
        """Name -> bytes of every file at any depth below a folder of this one; none where that is absent."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.find(self._path(inside), detail=True)
        except FileNotFoundError:
            return {}
        return {self._name(path): int(about.get("size") or 0) for path, about in found.items()}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(name, contents) of files; those that are not there are left out."""
        left = list(names)
        while left:
            chunk, left = left[:READ_AT_ONCE], left[READ_AT_ONCE:]
            found: dict[str, Any] = self._fs.cat([self._path(name) for name in chunk], on_error="omit")
            yield from ((self._name(path), data) for path, data in found.items())

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _name(self, path: str) -> str:
        return str(self._fs._strip_protocol(path)).removeprefix(f"{self._root}/")


def reason_of(error: BaseException) -> str:
    """What a file system's library says, on one line and without secrets."""
    said = " ".join(str(error).split())
    return redact(f"{type(error).__name__}: {said}" if said else type(error).__name__)
