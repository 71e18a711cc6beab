from pathlib import Path

from plw.files import folder_hash


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
