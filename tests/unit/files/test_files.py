import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from plw.files.hashing import folder_hash
from plw.files.writing import write_bytes_atomic, write_text_atomic


def test_a_folders_hash_sees_files_below_it_where_the_pattern_does(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "module.py").write_text("a = 1\n")
    flat, deep = folder_hash(tmp_path, ("*.py",)), folder_hash(tmp_path, ("**/*.py",))
    (tmp_path / "inner" / "module.py").write_text("a = 22\n")
    assert folder_hash(tmp_path, ("*.py",)) == flat
    assert folder_hash(tmp_path, ("**/*.py",)) != deep


def test_a_folders_hash_goes_by_names_and_contents_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "x.py").write_text("x = 1\n")
    assert folder_hash(tmp_path / "one", ("**/*.py",)) == folder_hash(tmp_path / "two", ("**/*.py",))
    (tmp_path / "two" / "inner").rename(tmp_path / "two" / "other")
    assert folder_hash(tmp_path / "one", ("**/*.py",)) != folder_hash(tmp_path / "two", ("**/*.py",))


def test_a_device_is_written_to_and_stays_a_device() -> None:
    """``--json /dev/null`` by root once put a file in the device's place."""
    before = Path(os.devnull).stat()
    write_text_atomic(Path(os.devnull), "gone")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert Path(os.devnull).stat().st_ino == before.st_ino


def test_a_pipe_gets_the_text(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    heard: list[str] = []
    reader.start()
    write_text_atomic(pipe, "through")
    reader.join(timeout=20)
    assert heard == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_a_link_and_its_file_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "out.json").write_text("old")
    (tmp_path / "out.json").symlink_to(tmp_path / "store" / "out.json")
    write_text_atomic(tmp_path / "out.json", "new")
    assert (tmp_path / "out.json").is_symlink()
    assert (tmp_path / "store" / "out.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*.tmp")) == []


def test_a_disk_that_takes_no_more_says_of_which_file(tmp_path: Path) -> None:
    path, limits = tmp_path / "drain.json", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            write_bytes_atomic(path, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
