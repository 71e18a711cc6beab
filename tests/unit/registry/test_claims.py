"""Claims by real processes: exactly one wins, the dead are replaced, and who lost a claim writes nothing."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import event

from plw.registry.claim import AlreadyDone, Busy, Claimed
from plw.registry.owner import Owner, process_alive
from plw.registry.rows import StageKey
from plw.registry.schema import stages
from plw.registry.store import Registry

WORKER = """
import json, os, random, sys, time
from pathlib import Path
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.claim import AlreadyDone, Claimed
from plw.registry.store import Registry

url, folder, seed, go = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
records = json.loads((folder / "records.json").read_text())
random.Random(seed).shuffle(records)
while not os.path.exists(go):
    time.sleep(0.002)
registry = Registry.open(url, wait_s=60)
while records:
    record = records.pop(0)
    key = StageKey(study="plw", scale="mini", cell=record["cell"]["cell"], name=record["stage"])
    owner = Owner.here()
    work = {"kind": record["kind"], "fingerprint": record["fingerprint"]}
    answer = registry.claim(key, owner=owner, lease_timeout_s=60, **work)
    if isinstance(answer, Claimed):
        (folder / f"ran-{key.cell}-{key.name}-{seed}-{answer.attempt}").touch(exist_ok=False)
        time.sleep(0.002)
        assert registry.heartbeat(key, owner.token)
        assert registry.finish(key, owner.token, record)
    elif not isinstance(answer, AlreadyDone):
        records.append(record)
"""

HOLDER = """
import sys, time
shift, clock = float(sys.argv[3]), time.time
time.time = lambda: clock() + shift
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry
registry, owner = Registry.open(sys.argv[1]), Owner.here()
key = StageKey(study="plw", scale="mini", cell=sys.argv[2], name="train")
print(registry.claim(key, kind="train", fingerprint="f-train", owner=owner, lease_timeout_s=60), flush=True)
time.sleep(600)
"""


def _start(program, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], **options)


@pytest.fixture
def registry(url):
    with Registry.open(url) as opened:
        yield opened


@pytest.fixture
def key(registry, make_cell):
    cell = registry.ensure_cell(make_cell())
    return StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")


def _claim(registry, key, owner, now, fingerprint="f-train", **options):
    return registry.claim(
        key, kind="train", fingerprint=fingerprint, owner=owner, lease_timeout_s=60, now=now, **options
    )


@pytest.mark.parametrize(("workers", "cells"), [(2, 12), (4, 3)])
def test_racing_processes_do_every_stage_exactly_once(url, tmp_path, make_cell, make_record, workers, cells):
    grid = [make_cell(number / 10) for number in range(cells)]
    records = [make_record(cell, name) for cell in grid for name in ("train", "harness")]
    (tmp_path / "records.json").write_text(json.dumps(records))
    with Registry.open(url) as registry:
        for cell in grid:
            registry.ensure_cell(cell)
    processes = [_start(WORKER, url, tmp_path, seed, tmp_path / "go") for seed in range(workers)]
    (tmp_path / "go").touch()
    assert [process.wait(timeout=120) for process in processes] == [0] * workers

    ran = Counter("-".join(path.name.split("-")[1:3]) for path in tmp_path.glob("ran-*"))
    assert ran == {f"{record['cell']['cell']}-{record['stage']}": 1 for record in records}
    with Registry.open(url) as registry:
        assert {(row.status, row.attempts) for row in registry.stage_rows()} == {("done", 1)}
        assert len(registry.scores_frame()) == 2 * len(records)


def test_two_workers_go_on_after_the_server_was_killed(postgres_server, server_url, tmp_path, make_cell, make_record):
    """Killed with -9 in the middle of their grid and started again: all is done, once, and nothing written twice."""
    grid = [make_cell(number / 100) for number in range(40)]
    records = [make_record(cell, name) for cell in grid for name in ("train", "harness")]
    (tmp_path / "records.json").write_text(json.dumps(records))
    with Registry.open(server_url) as registry:
        for cell in grid:
            registry.ensure_cell(cell)
    processes = [_start(WORKER, server_url, tmp_path, seed, tmp_path / "go") for seed in range(2)]
    (tmp_path / "go").touch()
    for share in (0.3, 0.6):
        while len(list(tmp_path.glob("ran-*"))) < share * len(records):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.002)
        postgres_server.kill()
        time.sleep(0.2)
        postgres_server.start()
    assert [process.wait(timeout=120) for process in processes] == [0, 0]

    ran = Counter("-".join(path.name.split("-")[1:3]) for path in tmp_path.glob("ran-*"))
    assert ran == {f"{record['cell']['cell']}-{record['stage']}": 1 for record in records}
    with Registry.open(server_url) as registry:
        assert {(row.status, row.attempts) for row in registry.stage_rows()} == {("done", 1)}
        assert len(registry.scores_frame()) == 2 * len(records)
        assert len(registry.curves_frame()) == 3 * len(grid)


@pytest.mark.parametrize("shift", [-7200.0, 7200.0])
def test_a_worker_whose_clock_is_off_neither_loses_nor_takes_a_living_claim(registry, key, url, shift):
    """Leases go by the database's clock: two hours late or early, a worker's own does not count."""
    ours = Owner.here()
    with _start(HOLDER, url, key.cell, shift, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline().startswith("Claimed(attempt=1")
        busy = registry.claim(key, kind="train", fingerprint="f-train", owner=ours, lease_timeout_s=60)
        assert isinstance(busy, Busy)
        assert 0 <= busy.seconds < 30
        # Silent for longer than a lease of no length, it is replaced, as any other.
        time.sleep(0.01)
        taken = registry.claim(key, kind="train", fingerprint="f-train", owner=ours, lease_timeout_s=0)
        assert taken == Claimed(attempt=2)
        holder.kill()
    with _start(HOLDER, url, key.cell, shift, stdout=subprocess.PIPE, text=True) as late:
        assert late.stdout.readline().startswith("Busy(")
        late.kill()
    assert abs(registry.clock() - time.time()) < 5


def test_processes_that_open_a_new_registry_at_once_make_it_once(url, tmp_path, make_cell):
    program = WORKER.replace("while records:", "while False:")
    (tmp_path / "records.json").write_text("[]")
    processes = [_start(program, url, tmp_path, seed, tmp_path / "go") for seed in range(4)]
    time.sleep(1)
    (tmp_path / "go").touch()
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    with Registry.open(url) as registry:
        registry.ensure_cell(make_cell())
        assert len(registry.cells()) == 1


def test_a_living_claim_is_busy_and_tells_who_holds_it(registry, key):
    owner = Owner.here()
    assert _claim(registry, key, owner, now=100.0) == Claimed(attempt=1)
    assert registry.heartbeat(key, owner.token, now=130.0)
    busy = _claim(registry, key, Owner.here(), now=180.0)
    assert busy == Busy(owner=str(owner), seconds=50.0)


def test_a_heartbeat_says_how_far_the_work_is_and_nobody_holds_that_afterwards(registry, key, make_cell, make_record):
    first, second = Owner.here(), Owner.here()
    _claim(registry, key, first, now=100.0)
    assert registry.stage_rows()[0].progress is None
    assert registry.heartbeat(key, first.token, progress='{"done": 1}', now=101.0)
    assert registry.heartbeat(key, first.token, now=102.0)
    (row,) = [row for _, row in registry.overview(study="plw", scale="mini").open]
    assert (row.progress, row.heartbeat) == ('{"done": 1}', 102.0), "a heartbeat without words leaves the last ones"
    assert _claim(registry, key, second, now=200.0).attempt == 2
    assert registry.stage_rows()[0].progress is None
    assert not registry.heartbeat(key, first.token, progress='{"done": 9}', now=201.0)
    assert registry.heartbeat(key, second.token, progress='{"done": 2}', now=201.0)
    assert registry.finish(key, second.token, make_record(make_cell(), attempts=2))
    assert registry.stage_rows()[0].progress is None


def test_a_released_claim_is_anyones_at_once_and_no_longer_its_owners(registry, key):
    owner, elsewhere = (replace(Owner.here(), host=host) for host in ("here", "elsewhere"))
    _claim(registry, key, owner, now=100.0)
    assert isinstance(_claim(registry, key, elsewhere, now=101.0), Busy)
    assert registry.release(key, owner.token)
    taken = _claim(registry, key, elsewhere, now=101.0)
    assert (taken, taken.taken_from) == (Claimed(attempt=2), None), "nobody was silent or dead"
    assert not registry.release(key, owner.token)
    assert isinstance(_claim(registry, key, owner, now=102.0), Busy)


def test_a_silent_claim_is_taken_over_and_its_first_owner_writes_nothing(registry, key, make_cell, make_record):
    elsewhere = replace(Owner.here(), host="elsewhere")
    late = replace(Owner.here(), host="elsewhere")
    assert _claim(registry, key, elsewhere, now=100.0) == Claimed(attempt=1)
    assert isinstance(_claim(registry, key, late, now=160.0), Busy)
    taken = _claim(registry, key, late, now=160.5)
    assert taken == Claimed(attempt=2)
    assert taken.taken_from == f"{elsewhere}, last heartbeat 60 s ago"

    before = registry.stage_rows()
    assert not registry.heartbeat(key, elsewhere.token, now=161.0)
    assert not registry.fail(key, elsewhere.token, "error", "traceback", now=161.0)
    assert not registry.finish(key, elsewhere.token, make_record(make_cell()))
    assert registry.stage_rows() == before
    assert registry.scores_frame().empty
    assert registry.curves_frame().empty
    assert registry.finish(key, late.token, make_record(make_cell(), attempts=2))
    assert len(registry.scores_frame()) == 2


def test_of_two_that_take_a_silent_claim_at_once_one_is_too_late(server_url, make_cell):
    """The other takes it between this one's reading of the row and its writing; SQLite lets no two write at once."""
    silent, faster, slower = (replace(Owner.here(), host=host) for host in ("elsewhere", "one", "two"))
    with Registry.open(server_url) as registry, Registry.open(server_url) as other:
        cell = registry.ensure_cell(make_cell())
        key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="train")
        _claim(registry, key, silent, now=100.0)
        answers = []

        def overtake(connection, cursor, statement, *rest):
            if statement.startswith("UPDATE stages") and not answers:
                answers.append(None)
                answers[0] = _claim(other, key, faster, now=161.0)

        event.listen(registry._engine, "before_cursor_execute", overtake)
        assert isinstance(_claim(registry, key, slower, now=161.0), Busy)
        assert answers == [Claimed(attempt=2)]
        assert other.heartbeat(key, faster.token, now=162.0)


def test_a_killed_process_is_replaced_at_once(registry, key, url):
    with _start(HOLDER, url, key.cell, 0, stdout=subprocess.PIPE, text=True) as holder:
        held = holder.stdout.readline()
        meanwhile = _claim(registry, key, Owner.here(), now=None)
        holder.kill()
        assert held.startswith("Claimed(attempt=1")
        assert isinstance(meanwhile, Busy)
        deadline = time.monotonic() + 10
        while process_alive(holder.pid, None) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _claim(registry, key, Owner.here(), now=None) == Claimed(attempt=2)


ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""A process that numbers from 1 on, as in a container that bears its host's name."""


def test_a_living_process_in_another_container_of_the_same_host_name_is_waited_for(registry, key, url):
    if shutil.which(ALONE[0]) is None or subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("unshare is not there, or may make no PID namespace here")
    command = [*ALONE, sys.executable, "-c", HOLDER, url, key.cell, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        held = holder.stdout.readline()
        (row,) = registry.stage_rows()
        answer = _claim(registry, key, Owner.here(), now=None)
        holder.kill()
    assert held.startswith("Claimed(attempt=1")
    assert row.host != Owner.here().host
    assert isinstance(answer, Busy)
    assert answer.owner == f"process {row.pid} on {socket.gethostname()}"


def test_a_dead_process_of_another_host_is_waited_for(registry, key):
    gone = Owner(host="elsewhere", pid=2**22 - 1, process_started=1.0)
    assert _claim(registry, key, gone, now=100.0) == Claimed(attempt=1)
    assert isinstance(_claim(registry, key, Owner.here(), now=101.0), Busy)


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_process_number_that_was_given_anew_counts_as_dead(registry, key, shift):
    here = Owner.here()
    assert process_alive(here.pid, here.process_started)
    other = replace(here, process_started=here.process_started + shift)
    assert _claim(registry, key, other, now=100.0) == Claimed(attempt=1)
    assert _claim(registry, key, Owner.here(), now=101.0) == Claimed(attempt=2)


def test_attempts_count_up_for_a_fingerprint_and_start_again_for_another(registry, key, make_cell, make_record):
    first, second, third, fourth = (Owner.here() for _ in range(4))
    assert _claim(registry, key, first, now=100.0) == Claimed(attempt=1)
    assert registry.fail(key, first.token, "out of memory\0", "Traceback", now=101.0)
    row = registry.stage_rows()[0]
    assert (row.status, row.error, row.seconds, row.token, row.host) == ("failed", "out of memory", 1.0, None, None)
    again = _claim(registry, key, second, now=102.0)
    assert (again, again.taken_from) == (Claimed(attempt=2), None), "nobody held what had failed"
    assert registry.finish(key, second.token, make_record(make_cell(), attempts=2))
    assert [(row.status, row.fingerprint) for row in registry.stage_rows()] == [("done", "f-train")]
    assert _claim(registry, key, third, now=103.0) == AlreadyDone()
    assert _claim(registry, key, third, now=103.0, fingerprint="f-other") == Claimed(attempt=1)
    assert registry.scores_frame().empty, "scores of a stage that is being done again are of something else"
    assert registry.finish(key, third.token, make_record(make_cell(), fingerprint="f-other"))
    assert _claim(registry, key, fourth, now=104.0, fingerprint="f-other", redo=True) == Claimed(attempt=2)


def test_a_stage_that_another_cell_works_on_with_the_same_fingerprint_is_waited_for_if_asked(
    registry, key, make_cell, make_record
):
    """Two cells that differ in what this stage does not see: the result of the first serves both."""
    twin = replace(key, cell=registry.ensure_cell(make_cell(0.5)).cell)
    first, second = (replace(Owner.here(), host="elsewhere") for _ in range(2))
    assert _claim(registry, key, first, now=100.0) == Claimed(attempt=1)
    assert _claim(registry, twin, second, now=150.0, once=True) == Busy(owner=str(first), seconds=50.0)
    assert [row.cell for row in registry.stage_rows()] == [key.cell], "nothing is written for who waits"
    # Another fingerprint, who does not ask, a silent worker and a finished stage are no reason to wait.
    for options in ({"fingerprint": "f-other", "once": True}, {"once": False}):
        assert _claim(registry, twin, second, now=150.0, **options) == Claimed(attempt=1)
        with registry.transaction() as connection:
            connection.execute(stages.delete().where(stages.c.cell == twin.cell))
    assert _claim(registry, twin, second, now=161.0, once=True) == Claimed(attempt=1)


def test_a_claim_needs_its_cell(registry, key):
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError):
        _claim(registry, replace(key, cell="0" * 64), Owner.here(), now=100.0)
