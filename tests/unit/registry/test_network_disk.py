"""A SQLite file on another machine's disk is recognised by what is mounted above it."""

from pathlib import Path

import pytest

from plw.registry import network_disk

MOUNTED = [
    ("/", "ext4"),
    ("/home", "nfs4"),
    ("/home/me/scratch", "xfs"),
    ("/lustre", "lustre"),
    ("/mnt/a", "fuse.sshfs"),
    ("/data", "nfs"),
    ("/data", "ext4"),
]


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("/var/runs/registry.sqlite", None),
        ("/home/me/runs/registry.sqlite", ("nfs4", "/home")),
        ("/home/me/scratch/registry.sqlite", None),
        ("/homes/registry.sqlite", None),
        ("/lustre/registry.sqlite", ("lustre", "/lustre")),
        ("/mnt/a/b/registry.sqlite", ("fuse.sshfs", "/mnt/a")),
        ("/data/registry.sqlite", None),
    ],
)
def test_the_nearest_mount_decides_and_of_two_at_one_point_the_last(file: str, found: tuple[str, str] | None) -> None:
    assert network_disk(Path(file), MOUNTED) == found


def test_this_machine_says_what_is_mounted(tmp_path: Path) -> None:
    assert network_disk(tmp_path / "registry.sqlite") is None
    assert network_disk(tmp_path / "registry.sqlite", []) is None


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    mounted = [("/", "ext4"), (str(tmp_path / "there"), "nfs")]
    assert network_disk(tmp_path / "link" / "registry.sqlite", mounted) == ("nfs", str(tmp_path / "there"))
