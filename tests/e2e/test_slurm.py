"""A grid as an array on a real Slurm: cut off in three ways, continued, and the same results as without."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plw.progress import count
from tests.e2e.conftest import Study, environment
from tests.slurm import Cluster, cluster

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

STEPS = 250
WEIGHTS = ("0", "0.1", "1")
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def words(model: Path, folder: Path) -> tuple[str, ...]:
    """Three cells that only train, for long, and whose claims are soon taken over."""
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(8)]
    (folder / "data.json").write_text(json.dumps(rows))
    return (
        "study=own", "scale=own", "model=folder", "model.name=tiny", f"model.path={model}", "dataset=file",
        "dataset.name=mine", f"dataset.path={folder}/data.json", "suite=piqa", "tracker=none", "stages=[train]",
        f"recipe.epochs={STEPS}", "recipe.batch_size=8", "execution.heartbeat_s=1", "execution.lease_timeout_s=6",
        "execution.threads=1",
    )  # fmt: skip


def steps(study: Study) -> dict[str, int]:
    """Weight -> steps done, of the cells that have begun."""
    return {path.parts[-3].split("-")[0][1:]: path.read_text().count("\n") for path in study.runs.rglob("log.jsonl")}


def curves(study: Study) -> dict[str, list[float]]:
    records = sorted(study.runs.rglob("train/record.json"))
    return {path.parts[-3]: [row["loss"] for row in json.loads(path.read_text())["curves"]] for path in records}


def hurry(slurm: Cluster) -> None:
    """A requeued job waits for two minutes; not here."""
    for job in slurm.command("squeue", "-h", "-t", "PENDING", "-o", "%i").split():
        subprocess.run(
            ["scontrol", "update", f"JobId={job}", "StartTime=now"], env=slurm.environment, check=False,
            capture_output=True,
        )  # fmt: skip


def test_an_array_that_is_cut_off_in_three_ways_ends_as_one_that_was_not(
    slurm: Cluster, study: Study, tiny_llama: Path, tmp_path: Path, cache: Path
) -> None:
    chosen = (*words(tiny_llama, tmp_path), "loss.prompt_weight=" + ",".join(WEIGHTS))
    array = ("hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.sbatch.mem=1000M")
    command = study.command("run", "-m", *chosen, *array)
    env = {**environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + TIMEOUT_S
    while len(found := steps(study)) < len(WEIGHTS) or min(found.values()) < 3:
        assert time.monotonic() < deadline, slurm.command("squeue")
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    jobs = dict(line.split() for line in slurm.command("squeue", "-h", "-o", "%K %i").splitlines())
    slurm.command("scancel", "--signal=USR2", jobs["0"])  # as when its time is nearly up
    slurm.command("scontrol", "requeue", jobs["1"])
    node = slurm.command("squeue", "-h", "-j", jobs["2"], "-o", "%N")
    slurm.kill_node(node)
    status = subprocess.run(study.command("status", *chosen[:2]), env=env, capture_output=True, text=True, check=True)
    assert "Slurm" in status.stdout
    assert "Slurm's queue" not in status.stdout, "that line is a failure to read it"
    while process.poll() is None:
        assert time.monotonic() < deadline, slurm.command("squeue")
        hurry(slurm)
        time.sleep(1)
    said, errors = process.communicate()
    assert process.returncode == 0, said + errors
    assert f"{len(WEIGHTS)} cells submitted" in said
    assert f"{len(WEIGHTS)}/{len(WEIGHTS)} cells" in said

    records = [json.loads(path.read_text()) for path in study.runs.rglob("train/record.json")]
    assert len(records) == len(WEIGHTS)
    assert sum(record["training"]["resumed_from"] > 0 for record in records) >= 2, "two made a checkpoint in time"
    assert not list(study.runs.rglob("failure.json"))
    alone = Study(runs=tmp_path / "alone", cache=cache)
    alone.call("run", "-m", *chosen, "execution.workers=1")
    assert curves(study) == curves(alone)
    slurm.start_node(node)
    again = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "nothing to submit, 3 done before" in again.stdout


def test_a_drain_leaves_what_waits_in_the_queue_for_later(
    slurm: Cluster, study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    slurm.wait_idle()
    chosen = (*words(tiny_llama, tmp_path), "recipe.epochs=1000", "loss.prompt_weight=" + ",".join(WEIGHTS))
    one_at_a_time = (
        "hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.sbatch.mem=1000M",
        "hydra.launcher.sbatch.array_parallelism=1",
    )  # fmt: skip
    command = study.command("run", "-m", *chosen, *one_at_a_time)
    env = {**environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + TIMEOUT_S
    while not steps(study):
        assert time.monotonic() < deadline, slurm.command("squeue")
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    seen = subprocess.Popen(
        study.command("status", "--watch", "--every", "1", *chosen[:2]), stdout=subprocess.PIPE, text=True, env=env
    )
    assert seen.stdout is not None
    shown = ""
    # The queue is looked at now and then: the first look may be from before the job began, or from after its end.
    while not re.search("Slurm:.*1 running.*[12] pending|Slurm:.*[12] pending.*1 running", shown):
        assert time.monotonic() < deadline, shown
        line = seen.stdout.readline()
        assert line, shown
        shown += line
    study.call("drain", *chosen[:2])
    said, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 75, said + errors
    trained = len(list(study.runs.rglob("train/record.json")))
    assert 1 <= trained < len(WEIGHTS), "what ran is finished, what waited is not begun"
    left = count(len(WEIGHTS) - trained, "cell")
    assert f"{left} left for later" in said + errors
    seen.communicate(timeout=60)
    assert seen.returncode == 0

    study.call("drain", "--undo", *chosen[:2])
    slurm.wait_idle()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{left} submitted" in done.stdout
    records = [json.loads(path.read_text()) for path in study.runs.rglob("train/record.json")]
    assert [record["attempts"] for record in records] == [1] * len(WEIGHTS)


def test_two_commands_at_the_same_moment_submit_no_cell_twice(
    slurm: Cluster, study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    """A busy controller takes seconds for an array: the second command asked for the queue before it was in."""
    slow = tmp_path / "bin" / "sbatch"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\nsleep 10\nexec {shutil.which("sbatch")} "$@"\n')
    slow.chmod(0o755)
    chosen = (*words(tiny_llama, tmp_path), "loss.prompt_weight=" + ",".join(WEIGHTS))
    array = ("hydra/launcher=slurm", "hydra.launcher.wait=false", "hydra.launcher.sbatch.mem=1000M")
    env = {**environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
    env["PATH"] = f"{slow.parent}{os.pathsep}{env['PATH']}"
    both = [
        subprocess.Popen(study.command("run", "-m", *chosen, *array), stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=TIMEOUT_S)[0] for process in both]
    arrays = [json.loads(path.read_text()) for path in study.runs.glob("own-own/slurm/*.json")]
    for one in arrays:
        slurm.command("scancel", one["array"])
    assert [process.returncode for process in both] == [0, 0], said
    assert [len(one["cells"]) for one in arrays] == [len(WEIGHTS)], said
    assert sum("nothing to submit, 0 done before, 3 in the queue already" in lines for lines in said) == 1, said


def test_mistakes_are_told_before_anything_is_submitted(
    slurm: Cluster, study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    chosen = ("run", "-m", *words(tiny_llama, tmp_path), "loss.prompt_weight=0", "hydra/launcher=slurm")
    env = {**environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
    for word, said in {
        "hydra.launcher.sbatch.partition=nowhere": "Slurm took no jobs",
        "+hydra.launcher.sbatch.folder=x": "set by the launcher",
        "dataset.path=missing.json": "no such file",
    }.items():
        done = subprocess.run(study.command(*chosen, word), env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    without = {**env, "PATH": os.pathsep.join(part for part in env["PATH"].split(os.pathsep) if "bin" not in part)}
    done = subprocess.run(study.command(*chosen), env=without, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Slurm" in done.stderr


def test_a_cell_on_two_nodes_learns_what_it_learns_on_one(
    slurm: Cluster, study: Study, tiny_llama: Path, tmp_path: Path, cache: Path
) -> None:
    slurm.wait_idle()
    chosen = ("-m", *words(tiny_llama, tmp_path), "loss.prompt_weight=0.1", "recipe.epochs=5")
    env = {**environment(), "SLURM_CONF": slurm.environment["SLURM_CONF"]}
    array = ("hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.sbatch.mem=1500M")
    nodes = ("execution.nodes=2", "execution.sharding=ddp", "execution.rendezvous=slurm")
    command = study.command("run", *chosen, *array, *nodes)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    alone = Study(runs=tmp_path / "alone", cache=cache)
    alone.call("run", *chosen, "execution.workers=1")
    ((_, found),), ((_, expected),) = curves(study).items(), curves(alone).items()
    assert found == pytest.approx(expected, rel=1e-4)
    output = next(study.runs.glob("own-own/slurm/logs/*_1_log.out"))
    assert output.is_file(), "the second node has a log of its own"
