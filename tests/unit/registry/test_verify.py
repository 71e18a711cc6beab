"""What was changed after it was finished is found: files, records and rows, each by its own line."""

import json
from pathlib import Path

import pytest

from plw.errors import UserError
from plw.registry.schema import scores, stages
from plw.registry.store import Registry
from plw.registry.verify import verify_results


def test_what_is_whole_has_no_problems(study: str, runs: Path, make_cell, make_finished) -> None:
    """Of two studies, whose rows are told apart."""
    with Registry.open(study) as registry:
        make_finished(registry, runs, make_cell(0.1, study="wit", folder="wit-mini/short/wide/p0.1"))
    told: list[tuple[int, int, str]] = []
    found = verify_results(study, runs, lambda done, total, note="": told.append((done, total, note)))
    assert (found.records, found.files, found.problems) == (8, 16, ())
    assert told == [(number, 8, "") for number in range(1, 9)]
    assert found.bytes == sum(path.stat().st_size for path in runs.rglob("items.parquet"))


@pytest.mark.parametrize("damage", ["changed", "removed", "cut record", "record lost"])
def test_a_damaged_file_is_named(damage: str, study: str, runs: Path) -> None:
    file = sorted(runs.rglob("items.parquet"))[1]
    record = file.with_name("record.json")
    if damage == "changed":
        file.write_bytes(file.read_bytes().swapcase())
    elif damage == "removed":
        file.unlink()
    elif damage == "cut record":
        record.write_bytes(record.read_bytes()[:50])
    else:
        record.unlink()
    problems = verify_results(study, runs).problems
    named = {"cut record": record.name, "record lost": "its record is not there"}.get(damage, str(file))
    assert any(named in line for line in problems)
    if damage != "record lost":
        assert [line.count(f"remove {file.parent} to make") for line in problems if named in line] == [1]
    # A record that cannot be read is missed by its rows too.
    assert len(problems) == (2 if damage == "cut record" else 1)


def test_rows_that_the_database_lost_or_changed_are_named(study: str, runs: Path) -> None:
    with Registry.open(study) as registry, registry.transaction() as connection:
        key = stages.c.cell == connection.execute(stages.select()).first().cell
        connection.execute(scores.update().where(scores.c.cell == stages.c.cell, key).values(value=0.123))
    assert all("another value of" in line for line in verify_results(study, runs).problems)
    assert verify_results(study, runs).problems
    with Registry.open(study) as registry, registry.transaction() as connection:
        connection.execute(scores.delete())
    assert any("other rows" in line for line in verify_results(study, runs).problems)


def test_what_only_the_records_or_only_the_registry_knows_is_named(study: str, runs: Path, tmp_path: Path) -> None:
    """Also where the other of the two knows nothing of the whole study."""
    empty = f"sqlite:///{tmp_path}/empty.sqlite"
    Registry.open(empty).close()
    problems = verify_results(empty, runs).problems
    assert [("no such finished stage" in line, "registry rebuild" in line) for line in problems] == [(True, True)] * 6
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    problems = verify_results(study, nothing).problems
    assert ["its record is not there" in line for line in problems] == [True] * 6


def test_without_results_there_is_nothing_to_verify_results(study: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        verify_results(study, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no registry there"):
        verify_results(f"sqlite:///{tmp_path}/none.sqlite", tmp_path / "empty")


def test_records_that_nobody_wrote_are_problems_and_no_crash(study: str, runs: Path) -> None:
    record = next(iter(sorted(runs.rglob("record.json"))))
    for value in ([], {"products": 3}, {**json.loads(record.read_text()), "products": {"x": 1}}):
        record.write_text(json.dumps(value))
        assert verify_results(study, runs).problems
