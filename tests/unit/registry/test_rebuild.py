"""The records alone make the registry again, and whatever goes wrong leaves the old one."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from plw.cli import app
from plw.config.overrides import quoted
from plw.errors import UserError
from plw.files.writing import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rebuild import rebuild
from plw.registry.rows import StageKey
from plw.registry.schema import metadata
from plw.registry.store import Registry


def _contents(url):
    with Registry.open(url, create=False) as registry, registry.transaction() as connection:
        return {t.name: sorted(connection.execute(select(t)).all(), key=repr) for t in metadata.sorted_tables}


def test_the_rebuilt_registry_equals_the_original(study, runs):
    original = _contents(study)
    seen = []
    counts = rebuild(study, runs, lambda done, total, note="": seen.append((done, total)))
    assert _contents(study) == original
    assert (counts.records, counts.cells, counts.scores, counts.curves, counts.damaged) == (6, 3, 12, 9, ())
    assert seen == [(n, 6) for n in range(1, 7)]


def test_a_lost_registry_comes_back(study, runs, tmp_path):
    target = f"sqlite:///{tmp_path}/new/registry.sqlite"
    rebuild(target, runs)
    assert _contents(target) == _contents(study)
    assert [path.name for path in (tmp_path / "new").iterdir() if not path.name.endswith(("-wal", "-shm"))] == [
        "registry.sqlite"
    ]


def test_damaged_records_are_named_and_the_rest_comes_back(study, runs, make_cell, make_record):
    paths = sorted(runs.rglob("record.json"))
    paths[0].write_text('{"study": "plw", ')
    cell = make_cell(0.1)
    write_json_atomic(runs / cell.folder / "train" / "record.json", make_record(cell, study="other"))
    write_json_atomic(runs / "plw-mini/short/wide/copy/train/record.json", make_record(make_cell(1.0)))
    counts = rebuild(study, runs)
    assert len(counts.damaged) == 3
    assert counts.records == 4
    assert any(str(paths[0]) in line and "not valid JSON" in line for line in counts.damaged)
    assert any("study is 'other'" in line for line in counts.damaged)
    assert any("a second record" in line for line in counts.damaged)


def test_two_stages_with_one_score_keep_the_first(study, runs, make_cell, make_record):
    cell = make_cell(0.0)
    twice = make_record(cell, "judge", scores=make_record(cell, "train")["scores"])
    write_json_atomic(runs / cell.folder / "judge" / "record.json", twice)
    counts = rebuild(study, runs)
    assert counts.records == 6
    assert len(counts.damaged) == 1
    assert "p0.0/" in counts.damaged[0]


def test_a_failing_rebuild_leaves_the_old_registry(study, runs, monkeypatch):
    original = _contents(study)
    module = sys.modules[rebuild.__module__]
    calls = []

    def breaks(connection, record):
        calls.append(record)
        if len(calls) == 3:
            raise KeyboardInterrupt
        put_record(connection, record)

    put_record = module.put_record
    monkeypatch.setattr(module, "put_record", breaks)
    with pytest.raises(KeyboardInterrupt):
        rebuild(study, runs)
    assert _contents(study) == original


def test_a_stage_at_work_stops_the_rebuild_and_a_dead_one_does_not(study, runs, make_cell):
    key = StageKey(study="plw", scale="mini", cell=make_cell(0.0).cell, name="judge")
    with Registry.open(study) as registry:
        registry.claim(key, kind="judge", fingerprint="x", owner=Owner.here(), lease_timeout_s=60, now=time.time())
    with pytest.raises(UserError, match=f"first plw-mini 00000000 judge by process {os.getpid()}"):
        rebuild(study, runs)
    with Registry.open(study) as registry, registry.transaction() as connection:
        connection.execute(metadata.tables["stages"].update().values(pid=2**22 - 1))
    assert rebuild(study, runs).records == 6
    with Registry.open(study) as registry:
        assert {row.status for row in registry.stage_rows()} == {"done"}


def test_how_long_a_silent_worker_is_waited_for_is_the_configs(study, runs, make_cell, tmp_path):
    """A worker on another machine that said nothing for 100 seconds: gone after 60, at work where 600 are allowed."""
    key = StageKey(study="plw", scale="mini", cell=make_cell(0.0).cell, name="judge")
    owner, now = Owner(host="elsewhere", pid=1), time.time()
    with Registry.open(study) as registry:
        registry.claim(key, kind="judge", fingerprint="x", owner=owner, lease_timeout_s=60, now=now)
    with Registry.open(study) as registry, registry.transaction() as connection:
        connection.execute(metadata.tables["stages"].update().values(heartbeat=now - 100))
    words = ["registry", "rebuild", f"registry.url={quoted(study)}", f"execution.runs={runs}"]
    refused = CliRunner().invoke(app, [*words, "execution.lease_timeout_s=600"])
    assert isinstance(refused.exception, UserError)
    assert "plw-mini 00000000 judge by process 1 on elsewhere" in str(refused.exception)
    assert CliRunner().invoke(app, words).exit_code == 0


def test_a_file_that_another_process_has_open_is_not_replaced(runs, tmp_path):
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    runs.mkdir()
    Registry.open(url).close()
    program = "; ".join((
        "import time", "from plw.registry.store import Registry", f"registry = Registry.open({url!r})",
        "registry.cells()", "print(1, flush=True)", "time.sleep(600)",
    ))  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as reader:
        try:
            reader.stdout.readline()
            with pytest.raises(UserError, match="another process has the registry open"):
                rebuild(url, runs)
        finally:
            reader.kill()
    rebuild(url, runs)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".rebuild")]


def test_a_damaged_database_is_replaced(runs, tmp_path, make_cell, make_record):
    cell = make_cell()
    write_json_atomic(runs / cell.folder / "train" / "record.json", make_record(cell))
    path = tmp_path / "registry.sqlite"
    path.write_bytes(b"torn" * 5000)
    (tmp_path / "registry.sqlite-wal").write_bytes(b"of the old file")
    done = rebuild(f"sqlite:///{path}", runs)
    assert (done.records, done.kept) == (1, tmp_path / "registry.sqlite.damaged")
    assert done.kept.read_bytes() == b"torn" * 5000
    assert not (tmp_path / "registry.sqlite-wal").exists()
    assert len(_contents(f"sqlite:///{path}")["scores"]) == 2
    assert rebuild(f"sqlite:///{path}", runs).kept is None
    path.write_bytes(b"again")
    assert rebuild(f"sqlite:///{path}", runs).kept == tmp_path / "registry.sqlite.damaged1"


@pytest.mark.parametrize("holds", ["tables", "folder"])
def test_what_belongs_to_others_is_not_replaced(holds, runs, tmp_path):
    runs.mkdir()
    path = tmp_path / "mine.db"
    if holds == "folder":
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE scores (mine)")
    with pytest.raises(UserError, match="no registry of plw" if holds == "tables" else "is no file"):
        rebuild(f"sqlite:///{path}", runs)
    assert [found.name for found in tmp_path.iterdir() if found != runs] == ["mine.db"]


def test_a_missing_runs_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        rebuild(f"sqlite:///{tmp_path}/registry.sqlite", tmp_path / "nowhere")
