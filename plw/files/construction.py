"""A folder that is made once and shared: it comes into being whole or not at all, whoever else makes it too."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plw.errors import UserError

ABANDONED_AFTER_S = 6 * 3600
"""Seconds after which a temporary folder belongs to nobody."""


@contextmanager
def under_construction(final: Path, record: str) -> Iterator[Path]:
    """A temporary folder beside `final` that is renamed to it at the end; nothing stays behind after an error.

    Builders at the same time do not meet: each has a folder of its own, and the first to finish names its folder.

    Args:
        final: what is made.
        record: the last file that is written into it; a folder without it is not whole, and is replaced.

    Raises:
        UserError: the folder above cannot be written.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    except OSError as error:
        raise UserError(f"{final.parent}: cannot be written ({error.strerror}); choose another cache folder") from None
    try:
        temporary.chmod(0o755)
        yield temporary
        _put_in_place(temporary, final, record)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(final: Path) -> None:
    """Temporary folders of builders that were killed: older than any build takes."""
    for path in final.parent.glob(f".{final.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def _put_in_place(temporary: Path, final: Path, record: str) -> None:
    if final.exists() and not (final / record).is_file():
        broken = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.broken."))
        os.replace(final, broken)
        shutil.rmtree(broken)
    try:
        temporary.rename(final)
    except OSError:
        if not (final / record).is_file():
            raise
