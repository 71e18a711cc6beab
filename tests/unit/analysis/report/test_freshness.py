"""A report's files in place of an earlier report's: what that one wrote goes, what a person put there stays."""

import os

import pytest

from analysis.report import freshness
from analysis.report.freshness import SOURCE_FILE, is_fresh, write_files
from analysis.report.write import make_folder
from plw.errors import UserError
from plw.files.writing import write_json_atomic


def names(folder):
    return {path.name for path in folder.iterdir()} - {SOURCE_FILE}


def test_files_of_the_earlier_report_go_and_a_persons_own_stay(tmp_path):
    write_files(tmp_path, "one", {"a.csv": b"1", "b.png": b"2", "c.md": b"3"})
    (tmp_path / "mine.txt").write_text("notes")
    (tmp_path / "c.md").write_text("3, with a remark of mine")
    write_files(tmp_path, "two", {"a.csv": b"4"})
    assert names(tmp_path) == {"a.csv", "mine.txt", "c.md"}
    assert (tmp_path / "a.csv").read_bytes() == b"4"
    assert is_fresh(tmp_path, "two")
    assert not is_fresh(tmp_path, "one")


def test_a_writing_that_ended_halfway_is_not_fresh_and_leaves_nothing_behind_later(tmp_path, monkeypatch):
    write_files(tmp_path, "one", {"a.csv": b"1", "b.png": b"2"})
    with monkeypatch.context() as patch:

        def full(path, data):
            if path.name == "d.png":
                raise OSError(28, "No space left on device")
            path.write_bytes(data)

        patch.setattr(freshness, "write_bytes_atomic", full)
        with pytest.raises(OSError, match="No space"):
            write_files(tmp_path, "two", {"c.csv": b"3", "d.png": b"4"})
    assert not is_fresh(tmp_path, "two")
    assert not is_fresh(tmp_path, "one")
    write_files(tmp_path, "three", {"a.csv": b"5"})
    assert names(tmp_path) == {"a.csv"}


def test_a_report_that_lacks_a_file_is_not_fresh(tmp_path):
    write_files(tmp_path, "one", {"a.csv": b"1"})
    (tmp_path / "a.csv").unlink()
    assert not is_fresh(tmp_path, "one")


def test_a_folder_that_cannot_be_written_is_named_before_the_fits(tmp_path):
    out, before = tmp_path / "report", os.geteuid()
    out.mkdir()
    out.chmod(0o555)
    if before == 0:
        os.seteuid(65534)  # Root may write anywhere.
    try:
        for folder in (out, out / "inner"):
            with pytest.raises(UserError, match=r"cannot write the report there \(Permission denied\).*--out FOLDER"):
                make_folder(folder)
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("damage", ["", "[]", '{"source": "one"}', '{"files": []}', '{"files": {"a": 3}}'])
def test_a_damaged_list_of_files_removes_nothing(tmp_path, damage):
    (tmp_path / SOURCE_FILE).write_text(damage)
    (tmp_path / "a").write_text("mine")
    write_files(tmp_path, "two", {"b": b"1"})
    assert names(tmp_path) == {"a", "b"}


def test_only_the_folders_own_files_are_removed(tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    write_files(tmp_path, "one", {"a.csv": b"1"})
    manifest = freshness.read_json(tmp_path / SOURCE_FILE)
    write_json_atomic(out / SOURCE_FILE, {"source": "one", "files": {"../a.csv": manifest["files"]["a.csv"]}})
    write_files(out, "two", {"b.csv": b"2"})
    assert (tmp_path / "a.csv").exists()
