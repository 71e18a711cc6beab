"""What is written comes back, whole or not at all; what cannot be stored is refused in one line."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from plw.errors import RegistryAwayError, UserError
from plw.registry import database, shown_address, store
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.schema import SCHEMA_VERSION, cells, curves, scores
from plw.registry.store import Registry


@pytest.fixture
def registry(url):
    with Registry.open(url) as opened:
        yield opened


def _finish(registry, record, now=100.0):
    owner = Owner.here()
    cell = record["cell"]
    key = StageKey(study=cell["study"], scale=cell["scale"], cell=cell["cell"], name=record["stage"])
    registry.claim(
        key, kind=record["kind"], fingerprint=record["fingerprint"], owner=owner, lease_timeout_s=60, now=now
    )
    return registry.finish(key, owner.token, record)


def test_scores_come_back_to_the_last_digit_and_missing_stays_missing(registry, make_cell, make_record):
    cell = registry.ensure_cell(make_cell())
    assert _finish(registry, make_record(cell))
    frame = registry.scores_frame().set_index("benchmark")
    assert frame.loc["arc", "value"] == 1 / 3
    assert frame.loc["arc", "n"] == 100
    assert bool(frame.loc["arc", "headline"])
    assert frame.loc["arc", "judge"] == ""
    assert frame.loc["alpaca_eval", "judge"] == "world"
    assert frame.isna().loc["alpaca_eval", ["stderr", "n"]].all()
    assert frame.isna().loc["arc", ["higher_is_better", "task_version", "library_version"]].all()
    assert registry.curves_frame()["loss"].tolist() == [2.0, 1.0, 2.0 / 3]


def test_two_judges_score_one_benchmark(registry, make_cell, make_record):
    record = make_record(registry.ensure_cell(make_cell()))
    record["scores"] = [record["scores"][1], record["scores"][1] | {"judge": "other", "value": 60.0}]
    assert _finish(registry, record)
    assert registry.scores_frame().set_index("judge")["value"].to_dict() == {"world": 40.0, "other": 60.0}


def test_a_stage_may_leave_no_score_and_no_curve(registry, make_cell, make_record):
    cell = registry.ensure_cell(make_cell())
    assert _finish(registry, make_record(cell, scores=[], curves=[]))
    assert [row.status for row in registry.stage_rows()] == ["done"]
    assert registry.scores_frame().empty
    assert registry.curves_frame().empty


def test_a_cell_learns_its_ratio_from_the_record_that_finishes_it(registry, make_cell, make_record):
    registry.ensure_cell(make_cell(r_g=None))
    assert _finish(registry, make_record(make_cell(r_g=0.25)))
    assert [cell.r_g for cell in registry.cells()] == [0.25]


def test_a_cell_stays_as_it_was_written_first_but_learns_its_ratio(registry, make_cell):
    first = registry.ensure_cell(make_cell(r_g=None, created=5.0))
    assert (first.r_g, first.created) == (None, 5.0)
    second = registry.ensure_cell(make_cell(r_g=0.25, created=9.0))
    assert (second.r_g, second.created) == (0.25, 5.0)
    assert registry.ensure_cell(make_cell(r_g=0.5)) == second
    assert registry.cells() == [second]


def test_cells_written_together_are_all_there_and_those_that_were_stay(registry, make_cell, monkeypatch):
    """More than one transaction takes."""
    monkeypatch.setattr(store, "CELLS_A_TRANSACTION", 3)
    first = registry.ensure_cell(make_cell(0.2, created=5.0, r_g=None))
    registry.ensure_cells(make_cell(number / 10, created=9.0) for number in range(7))
    assert registry.cells() == [make_cell(n / 10, created=9.0) if n != 2 else first for n in range(7)]


def test_an_overview_counts_by_kind_and_status_and_shows_what_is_open(registry, make_cell, make_record):
    """The mean time is that of finished stages; other studies do not count."""
    for weight, seconds in ((0.0, 1.0), (0.1, 3.0)):
        assert _finish(registry, make_record(registry.ensure_cell(make_cell(weight)), seconds=seconds))
    for weight, ends in ((0.2, True), (0.3, False)):
        cell, owner = registry.ensure_cell(make_cell(weight)), Owner.here()
        key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
        registry.claim(key, kind="train", fingerprint="f", owner=owner, lease_timeout_s=60, now=100.0)
        assert not ends or registry.fail(key, owner.token, "error", "traceback", now=150.0)
    registry.ensure_cell(make_cell(0.4, study="other"))
    found = registry.overview(study="plw", scale="mini")
    assert (found.cells, found.seconds) == (4, {"train": 2.0})
    assert found.stages == {("train", "done"): 2, ("train", "failed"): 1, ("train", "running"): 1}
    assert (found.of_kind("train"), found.of_kind("judge")) == ({"done": 2, "failed": 1, "running": 1}, {})
    assert (found.of_status("done"), found.of_status("failed"), found.of_status("lost")) == (2, 1, 0)
    assert [(words, row.status, row.traceback) for words, row in found.open] == [
        ("short wide p0.2-r1-s42", "failed", None), ("short wide p0.3-r1-s42", "running", None),
    ]  # fmt: skip
    assert found.now == pytest.approx(registry.clock(), abs=60)
    assert registry.overview(study="other", scale="mini").cells == 1


def test_doing_a_stage_again_replaces_its_scores_and_leaves_the_others(registry, make_cell, make_record):
    cell = registry.ensure_cell(make_cell())
    assert _finish(registry, make_record(cell))
    assert _finish(registry, make_record(cell, "harness"))
    again = make_record(cell, "harness", fingerprint="other")
    again["scores"] = again["scores"][:1]
    assert _finish(registry, again)
    assert registry.scores_frame().groupby("stage").size().to_dict() == {"harness": 1, "train": 2}
    assert len(registry.curves_frame()) == 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("value", math.nan, r"scores\[0\]: value is nan"),
        ("value", None, r"scores\[0\]: value is missing"),
        ("n", "many", r"scores\[0\]: n is 'many' \(str\), not int"),
        ("n", 2**63, r"scores\[0\]: n is outside what a database's integer holds"),
        ("headline", 1, r"scores\[0\]: headline is '1' \(int\), not bool"),
        ("colour", "red", r"scores\[0\]: unknown field 'colour'"),
        ("benchmark", "alpaca_eval", None),
        (None, {"arc": 1}, "scores is a dict, not a list"),
    ],
)
def test_a_bad_record_is_one_line_and_writes_nothing(registry, make_cell, make_record, field, value, message):
    cell = registry.ensure_cell(make_cell())
    record = make_record(cell)
    if field is None:
        record["scores"] = value
    else:
        record["scores"][0][field] = value
    if message is None:
        record["scores"][0] |= {"metric": "win_rate", "judge": "world"}
        message = "stands there twice"
    with pytest.raises(UserError, match=message):
        _finish(registry, record)
    assert registry.scores_frame().empty
    with registry.transaction() as connection:
        assert connection.execute(select(scores)).first() is None
    assert [row.status for row in registry.stage_rows()] == ["running"]


def test_an_error_inside_the_transaction_leaves_the_stage_running(registry, make_cell, make_record):
    """Two stages that write one score: the second one must not end half-written."""
    from sqlalchemy.exc import IntegrityError

    cell = registry.ensure_cell(make_cell())
    first = make_record(cell)
    assert _finish(registry, first)
    with pytest.raises(IntegrityError):
        _finish(registry, make_record(cell, "harness", scores=first["scores"]))
    assert {row.name: row.status for row in registry.stage_rows()} == {"train": "done", "harness": "running"}
    assert len(registry.scores_frame()) == 2


def test_a_finished_record_is_adopted_and_its_writer_may_still_finish(registry, make_cell, make_record):
    record = make_record(make_cell(), attempts=2)
    registry.import_record(record)
    registry.import_record(record)
    assert len(registry.scores_frame()) == 2

    again = make_record(make_cell(), fingerprint="other", finished=12.0)
    owner, key = Owner.here(), registry.stage_rows()[0].key
    registry.claim(key, kind="train", fingerprint="other", owner=owner, lease_timeout_s=60, now=100.0)
    registry.import_record(again)
    assert not registry.heartbeat(key, owner.token)
    assert registry.finish(key, owner.token, again)
    assert registry.stage_rows()[0].fingerprint == "other"


@pytest.mark.parametrize("table", [scores, curves])
def test_a_record_whose_rows_were_lost_brings_them_back(registry, make_cell, make_record, table):
    record = make_record(make_cell())
    registry.import_record(record)
    with registry.transaction() as connection:
        connection.execute(table.delete())
    registry.import_record(record)
    assert (len(registry.scores_frame()), len(registry.curves_frame())) == (2, 3)


def test_a_record_finishes_its_own_stage_only(registry, make_cell, make_record):
    cell = registry.ensure_cell(make_cell())
    key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
    with pytest.raises(ValueError, match="harness"):
        registry.finish(key, "token", make_record(cell, "harness"))


def test_frames_choose_a_study_and_keep_their_types_when_empty(registry, make_cell, make_record):
    for study in ("plw", "wit"):
        assert _finish(registry, make_record(registry.ensure_cell(make_cell(study=study))))
    some = registry.scores_frame(study="wit", scale="mini")
    none = registry.scores_frame(study="wit", scale="paper")
    assert set(some["study"]) == {"wit"}
    assert none.empty
    assert none.dtypes.equals(some.dtypes)
    assert [cell.study for cell in registry.cells(study="plw")] == ["plw"]
    assert [row.study for row in registry.stage_rows(study="plw")] == ["plw"]


def test_readers_go_on_while_a_process_writes_and_no_other_writer_begins(tmp_path, make_cell):
    """A transaction that writes holds the file from its beginning, so that it cannot fail halfway."""
    path = tmp_path / "registry.sqlite"
    with Registry.open(f"sqlite:///{path}") as writer, Registry.open(f"sqlite:///{path}") as reader:
        cell = writer.ensure_cell(make_cell())
        with writer.transaction() as connection:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    other.execute("BEGIN IMMEDIATE")
            connection.execute(cells.delete())
            assert reader.cells() == [cell]
        assert reader.cells() == []


def test_another_schema_version_is_refused(url):
    from plw.registry.schema import meta

    with Registry.open(url) as registry, registry.transaction() as connection:
        connection.execute(meta.update().values(schema_version=SCHEMA_VERSION + 7))
    with pytest.raises(
        UserError, match=f"schema version {SCHEMA_VERSION + 7}, this plw reads {SCHEMA_VERSION}"
    ) as error:
        Registry.open(url)
    assert "\n" not in str(error.value)
    assert "rebuild" in str(error.value)


def test_a_missing_registry_is_made_only_when_asked(url):
    with pytest.raises(UserError, match="no registry there"):
        Registry.open(url, create=False)
    Registry.open(url).close()
    Registry.open(url, create=False).close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("no address", "not a database address"),
        ("mysql://host/name", "mysql is not supported"),
        ("postgresql+asyncpg://host/name", "asyncpg is not supported"),
        ("postgresql://name:secret@host:port/x", "not a database address"),
        ("postgresql:/name:secret@host/x", "not a database address"),
        ("sqlite://", "needs a file"),
        ("sqlite:////proc/version/x/registry.sqlite", "cannot make the registry's folder"),
        ("sqlite:////proc/registry.sqlite", "unable to open database file"),
        ("postgresql+psycopg://name:secret@127.0.0.1:1/x", "check host, port, database, user|driver is missing"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(address, message):
    with pytest.raises(UserError, match=message) as error:
        Registry.open(address)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_of_something_else_is_refused_and_untouched(tmp_path: Path):
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes, and no database at all" * 100)
    with pytest.raises(UserError, match="not a database"):
        Registry.open(f"sqlite:///{text}")
    assert text.read_text().startswith("these are my notes")


@pytest.mark.parametrize("table", ["cells", "scores", "meta"])
def test_another_programs_tables_are_left_alone(table, tmp_path):
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute(f"CREATE TABLE {table} (x INTEGER)")
    with pytest.raises(UserError, match="no registry of plw"):
        Registry.open(f"sqlite:///{other}")
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [(table,)]


@pytest.mark.parametrize("folder", ["a?b", "a%20b", "a#b", "a&b=c", "a b", "ä"])
def test_a_sqlite_file_lies_where_its_address_says(folder, tmp_path, make_cell):
    with Registry.open(f"sqlite:///{tmp_path}/{folder}/registry.sqlite") as registry:
        registry.ensure_cell(make_cell())
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/registry.sqlite")] == [
        f"{folder}/registry.sqlite"
    ]
    assert shown_address(f"sqlite:///{tmp_path}/{folder}/x") == f"sqlite:///{tmp_path}/{folder}/x"


def test_a_password_is_not_shown():
    shown = shown_address("postgresql+psycopg://me:hush@db.example:5432/plw")
    assert shown == "postgresql+psycopg://me:***@db.example:5432/plw"


def test_a_transaction_by_hand_says_in_a_line_that_another_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "registry.sqlite"
    with Registry.open(f"sqlite:///{path}") as registry, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryAwayError, match=r"registry\.sqlite: the registry does not answer"), \
                registry.transaction() as connection:  # fmt: skip
            connection.execute(scores.delete())
