"""The sweep's promises: every score there, the same to the last digit however it is run, and nothing done twice."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import time

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


def test_two_workers_give_the_same_digits(undisturbed: Study, study: Study) -> None:
    study.sweep("execution.workers=2")
    assert study.scores() == undisturbed.scores()


def test_a_second_sweep_does_nothing(undisturbed: Study) -> None:
    records = {path: path.stat().st_mtime_ns for path in undisturbed.runs.rglob("record.json")}
    again = undisturbed.sweep("execution.workers=2")
    assert f"0 cells run, {CELLS} done before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in undisturbed.runs.rglob("record.json")} == records


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
    assert not list(study.runs.rglob(".*.tmp"))


def test_a_killed_sweep_leaves_no_worker_behind(study: Study) -> None:
    """Only the parent is killed; its workers end by themselves."""
    command = study.command("run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK, "execution.workers=2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(study.runs.rglob("payload.json")):
        time.sleep(0.1)
    process.kill()
    process.wait()
    marker = f"execution.runs={study.runs}"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and processes_with(marker, str(process.pid)):
        time.sleep(0.2)
    assert not processes_with(marker, str(process.pid))


def processes_with(*markers: str) -> list[str]:
    """Command lines of live processes that hold one of the markers (a worker names its parent's pid)."""
    listed = subprocess.run(["ps", "-eo", "ppid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if " Z" not in line and "ps -eo" not in line]
    return [line for line in lines if "spawn_main" in line and f"parent_pid={markers[1]}" in line]


def test_the_registry_is_made_again_from_the_records(undisturbed: Study) -> None:
    before = undisturbed.scores()
    database = undisturbed.runs / "registry.sqlite"
    kept = database.read_bytes()
    for file in undisturbed.runs.glob("registry.sqlite*"):
        file.unlink()
    undisturbed.call("registry", "rebuild")
    assert undisturbed.scores() == before
    assert database.stat().st_size > 0
    assert kept


def test_a_lost_database_is_filled_by_the_next_sweep(undisturbed: Study) -> None:
    before = undisturbed.scores()
    for file in undisturbed.runs.glob("registry.sqlite*"):
        file.unlink()
    undisturbed.sweep("execution.workers=1")
    assert undisturbed.scores() == before


def test_drift_is_refused_with_the_field(undisturbed: Study) -> None:
    refused = undisturbed.sweep("suite.limit=3", code=2)
    assert "limit: null -> 3" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_new_suite_re_uses_the_trained_models(undisturbed: Study) -> None:
    trained = {path: path.stat().st_mtime_ns for path in undisturbed.runs.rglob("train/record.json")}
    undisturbed.sweep("suite.name=other", "suite.limit=3", "stages=[train,harness]", "execution.workers=1")
    assert {path: path.stat().st_mtime_ns for path in undisturbed.runs.rglob("train/record.json")} == trained
    assert len(list(undisturbed.runs.rglob("harness-other/record.json"))) == CELLS


def test_records_hold_the_whole_identity(undisturbed: Study) -> None:
    record = json.loads(next(undisturbed.runs.rglob("train/record.json")).read_text())
    assert {"model", "dataset", "template", "loss", "recipe", "seed"} == set(record["payload"])
    assert record["data"]["r_g"] > 0
    assert record["versions"]["torch"]
