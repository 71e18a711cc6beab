"""The sweep's promises: every score there, the same to the last digit however it is run, and nothing done twice."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import GRID, SHORT_WORK, SMALL_WORLD, Study, environment

CELLS = 4
BENCHMARKS = 13

pytestmark = pytest.mark.slow


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_cell_has_every_headline_score(undisturbed: Study) -> None:
    headline = [row for row in rows(undisturbed.scores()) if row["headline"] == "true"]
    assert len(headline) == CELLS * BENCHMARKS
    assert len({(row["dataset"], row["prompt_weight"], row["benchmark"]) for row in headline}) == CELLS * BENCHMARKS
    assert all(row["value"] and row["r_g"] for row in headline)


def test_the_four_diagnostics_are_there(undisturbed: Study) -> None:
    found = {row["benchmark"] for row in rows(undisturbed.scores()) if row["headline"] == "false"}
    assert {"loss_rsd", "weight_distance", "memorisation", "generation_length"} <= found


def test_a_second_sweep_does_nothing(finished: Study) -> None:
    records = {path: path.stat().st_mtime_ns for path in finished.runs.rglob("record.json")}
    again = finished.sweep("execution.workers=2")
    assert f"0 cells run, {CELLS} done before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in finished.runs.rglob("record.json")} == records


def test_killed_three_times_and_continued(undisturbed: Study, study: Study) -> None:
    """kill -9 of the whole process group at random moments; the scores are those of the undisturbed run."""
    command = study.command("run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK, "execution.checkpoint_seconds=0.05")
    seed = random.randrange(1_000_000)
    moments = random.Random(seed)
    for _ in range(3):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment()
        )
        time.sleep(moments.uniform(4, 14))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    study.sweep("execution.workers=2")
    assert study.scores() == undisturbed.scores(), f"kill moments of seed {seed}"
    assert study.items() == undisturbed.items(), f"kill moments of seed {seed}"
    assert not list(study.runs.rglob(".*.tmp"))


def test_a_killed_sweep_leaves_no_worker_behind(study: Study) -> None:
    """Only the parent is killed; its workers end by themselves."""
    process = start(study)
    workers = workers_of(process.pid)
    assert workers
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(alive, workers)):
        time.sleep(0.2)
    assert not any(map(alive, workers))


def test_two_workers_give_the_same_digits_and_a_killed_one_is_replaced(undisturbed: Study, study: Study) -> None:
    """Out of memory, say: the cell it was on is tried again by another, and the sweep ends well."""
    process = start(study)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    assert process.wait(timeout=300) == 0
    assert study.scores() == undisturbed.scores()


def start(study: Study) -> subprocess.Popen[bytes]:
    """The sweep with two workers, once the first of them is at work."""
    command = study.command("run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK, "execution.workers=2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    deadline = time.monotonic() + 120
    while not list(study.runs.rglob("payload.json")):
        assert time.monotonic() < deadline, "no stage was begun within two minutes"
        assert process.poll() is None, "the sweep ended before its first stage"
        time.sleep(0.05)
    return process


def workers_of(parent: int) -> list[int]:
    """Worker processes of a sweep."""
    listed = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    return [int(pid) for pid, above, words in rows if int(above) == parent and "spawn_main" in words]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_registry_is_made_again_from_the_records(finished: Study) -> None:
    before = finished.scores()
    for file in finished.runs.glob("registry.sqlite*"):
        file.unlink()
    assert f"{CELLS} cells" in finished.call("registry", "rebuild").stdout
    assert finished.scores() == before


def test_a_lost_database_is_filled_by_the_next_sweep(finished: Study) -> None:
    before = finished.scores()
    for file in finished.runs.glob("registry.sqlite*"):
        file.unlink()
    finished.sweep("execution.workers=1")
    assert finished.scores() == before


def test_drift_is_refused_with_the_field(finished: Study) -> None:
    refused = finished.sweep("suite.limit=3", code=2)
    assert "limit: null -> 3" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_new_suite_re_uses_the_trained_models(finished: Study) -> None:
    trained = {path: path.stat().st_mtime_ns for path in finished.runs.rglob("train/record.json")}
    finished.sweep("suite.name=other", "suite.limit=3", "stages=[train,harness]", "execution.workers=1")
    assert {path: path.stat().st_mtime_ns for path in finished.runs.rglob("train/record.json")} == trained
    assert len(list(finished.runs.rglob("harness-other/record.json"))) == CELLS


def test_records_hold_the_whole_identity(undisturbed: Study) -> None:
    record = json.loads(next(undisturbed.runs.rglob("train/record.json")).read_text())
    assert {"model", "dataset", "template", "loss", "recipe", "seed"} == set(record["payload"])
    assert record["data"]["r_g"] > 0
    assert record["versions"]["torch"]
