"""Tells a disk that takes no more (full, out of inodes, over quota, read-only) from other failures, however it is told.

Libraries hide the system's error in exceptions and texts of their own, so the disk is asked as well.
"""

import errno
import os
from pathlib import Path

from plw.errors import StageError, StorageError, UserError

ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
WORDS = {
    "No space left on device": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "Read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
}
"""Words in an exception's text -> what they mean."""
ENOUGH_BYTES = 64 * 1024
"""A disk with less than this left is full."""


def storage_error(error: BaseException, where: str, folder: Path | None = None) -> StorageError | None:
    """The failure as one of the disk, with its remedy; None where it is of another kind.

    Args:
        error: what was raised.
        where: what was written, as the line names it.
        folder: where it was written; given, its disk is asked for what the error does not tell.
    """
    code = _code(error)
    if code is None and folder is not None and not isinstance(error, UserError | StageError) and _is_full(folder):
        code = errno.ENOSPC
    if code is None:
        return None
    remedy = "make it writable" if code == errno.EROFS else "free space"
    return StorageError(f"{where}: {os.strerror(code)}; {remedy}, then the same command continues")


def _code(error: BaseException) -> int | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in ERRNOS:
            return seen.errno
        for words, code in WORDS.items():
            if words in str(seen):
                return code
        seen = seen.__cause__ or seen.__context__
    return None


def _is_full(folder: Path) -> bool:
    """Whether the folder's disk, or that of the nearest folder above it that exists, has no room or no inodes left."""
    place = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if place is None:
        return False
    found = os.statvfs(place)
    # What holds no files of its own (such as /proc) says 0 of all.
    no_room = found.f_blocks > 0 and found.f_bavail * found.f_frsize < ENOUGH_BYTES
    return no_room or (found.f_files > 0 and found.f_favail == 0)
