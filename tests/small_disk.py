"""A disk of its own that is soon full, for tests of what a full disk does."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WITHOUT_ROOT = "a small disk can be mounted by root only"


class CannotMountError(Exception):
    """No disk can be mounted here; the message says why."""


@contextmanager
def small_disk(place: Path, size: str, *, inodes: int = 0) -> Iterator[Path]:
    """A tmpfs at a folder, which is made.

    Args:
        place: where it is mounted.
        size: as mount takes it, such as ``4m``.
        inodes: files and folders at most; 0 sets no limit.

    Raises:
        CannotMountError: not root, or no right to mount.
    """
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise CannotMountError(WITHOUT_ROOT)
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotMountError(f"{WITHOUT_ROOT}, in a container that lets it: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, name: str = "filler") -> Path:
    """A file that leaves no byte free."""
    filler = disk / name
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    if not file.write(b"x" * size):
                        break
                except OSError:
                    break
    return filler
