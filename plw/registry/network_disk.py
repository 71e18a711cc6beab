"""Whether a SQLite file lies on a network's file system, whose locks do not hold between machines."""

from collections.abc import Iterable
from pathlib import Path

import psutil

NETWORK = (
    *("nfs", "nfs4", "cifs", "smbfs", "smb3", "afs", "lustre", "gpfs", "beegfs", "ceph", "panfs", "orangefs", "ocfs2"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.juicefs"),
)
"""File systems, by the names of Linux, whose server is another machine."""


def network_disk(path: Path, mounted: Iterable[tuple[str, str]] | None = None) -> tuple[str, str] | None:
    """The file system and its mount where a file is on another machine's disk; None where it is not, as far as known.

    Args:
        path: the file, there or not.
        mounted: (mount point, file system) of all that is mounted; by default as the system says.
    """
    if mounted is None:
        mounted = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    place = path.resolve()
    above = [(point, kind) for point, kind in mounted if place.is_relative_to(point)]
    if not above:
        return None
    # Of several at one point the last one mounted is seen.
    point, kind = max(reversed(above), key=lambda one: len(Path(one[0]).parts))
    return (kind, point) if kind in NETWORK else None
