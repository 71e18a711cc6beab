"""Training in several processes: the same end as alone, whoever dies on the way and however many go on."""

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from plw.errors import ClaimLostError, StageError, UserError
from plw.launch.job_folder import LaunchOwner, read_owner
from plw.runtime.interrupt import Interrupted, interruptible
from plw.testing.jobs import with_fields
from plw.train.job import TrainingJob, read_job, write_job
from plw.train.launch import workers
from plw.train.trainer import train
from tests.distributed.work import make_job

MANY = {"epochs": 12}
"""Twenty-four steps: enough to be caught in the middle of."""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


def weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model/model.safetensors")


def log(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{**row, "seconds": None, "tokens_per_second": None} for row in rows]


def assert_near(folder: Path, other: Path) -> None:
    """Equal to rounding: AdamW divides by the gradient's size, so a rounding error of a tiny gradient is visible."""
    one, two = weights(folder), weights(other)
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    for row, other_row in zip(log(folder), log(other), strict=True):
        assert row["loss"] == pytest.approx(other_row["loss"], rel=1e-4)


def stop_at(step: int) -> Callable[[dict[str, Any]], None]:
    def on_step(row: dict[str, Any]) -> None:
        if row["step"] >= step:
            raise ClaimLostError("taken over")

    return on_step


@pytest.fixture(scope="module")
def alone(tied_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process, undisturbed."""
    folder = tmp_path_factory.mktemp("alone")
    train(make_job(tied_llama, folder, MANY))
    return folder


def test_two_processes_lose_their_claim_and_one_goes_on(tied_llama: Path, tmp_path: Path, alone: Path) -> None:
    job = make_job(tied_llama, tmp_path, MANY, processes=2, sharding="fsdp", checkpoint_seconds=1e-9)
    with pytest.raises(ClaimLostError):
        train(job, on_step=stop_at(3))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    time.sleep(0.5)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before, "a lost claim writes nothing more"
    assert not (tmp_path / "model").exists()
    summary = train(with_fields(job, processes=1))
    assert 2 <= summary.resumed_from < 24
    assert_near(tmp_path, alone)


def test_one_process_dies_and_two_go_on(tied_llama: Path, tmp_path: Path, alone: Path) -> None:
    job = make_job(tied_llama, tmp_path, MANY, checkpoint_seconds=1e-9)
    with pytest.raises(ClaimLostError):
        train(job, on_step=stop_at(5))
    told: list[dict[str, Any]] = []
    # Files of an attempt that was killed are in nobody's way.
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/begins.json").write_text("[23, 24]")
    summary = train(with_fields(job, processes=2, sharding="ddp"), on_step=told.append)
    assert summary.resumed_from == 4
    assert [row["step"] for row in told] == list(range(5, 25))
    assert [{k: row[k] for k in ("step", "loss")} for row in told] == [
        {k: row[k] for k in ("step", "loss")} for row in log(tmp_path)[4:]
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "model"]
    assert_near(tmp_path, alone)


def test_a_worker_killed_with_9_is_one_line_and_two_processes_end_with_the_same_bytes(
    tied_llama: Path, tmp_path: Path
) -> None:
    jobs = [
        make_job(tied_llama, tmp_path / name, MANY, processes=2, checkpoint_seconds=1e-9) for name in ("once", "twice")
    ]
    train(jobs[0])

    def kill(row: dict[str, Any]) -> None:
        if row["step"] >= 4:
            pid = json.loads((tmp_path / "twice/launch/worker-1.json").read_text())["pid"]
            os.kill(pid, signal.SIGKILL)

    killed = "the training process of rank 1 was ended by SIGKILL, by hand or for want of memory"
    with pytest.raises(StageError, match=f"^{killed}; .*/twice/launch/output.txt says more$"):
        train(jobs[1], on_step=kill)
    assert train(jobs[1]).resumed_from >= 3
    once, twice = weights(tmp_path / "once"), weights(tmp_path / "twice")
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert log(tmp_path / "once") == log(tmp_path / "twice")


@pytest.mark.parametrize("to_all", [False, True], ids=["to this process", "to every process, as Slurm does"])
def test_a_signal_ends_in_a_checkpoint_and_no_worker_is_left(
    to_all: bool, tied_llama: Path, tmp_path: Path, alone: Path
) -> None:
    job = make_job(tied_llama, tmp_path, MANY, processes=2, checkpoint_seconds=300.0)
    workers_seen: list[int] = []

    def ask(row: dict[str, Any]) -> None:
        if row["step"] < 3 or workers_seen:
            return
        workers_seen.extend(json.loads(path.read_text())["pid"] for path in tmp_path.glob("launch/worker-*.json"))
        if to_all:
            for child in psutil.Process().children(recursive=True):
                child.terminate()
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as caught, interruptible():
        train(job, on_step=ask)
    assert caught.value.exit_code == 143
    assert len(workers_seen) == 2
    assert not any(psutil.pid_exists(pid) for pid in workers_seen)
    assert not (tmp_path / "launch").exists()
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert int(checkpoint.name.removeprefix("step-")) >= 3
    assert train(with_fields(job, processes=1)).resumed_from >= 3
    assert_near(tmp_path, alone)


def test_a_mistake_in_a_worker_is_its_own_line(tied_llama: Path, tmp_path: Path) -> None:
    job = make_job(tied_llama, tmp_path, {"lora_rank": 2}, processes=2, sharding="fsdp")
    with pytest.raises(UserError, match=r"recipe.lora_rank=2 with several processes needs execution.sharding=ddp"):
        train(job)
    with pytest.raises(UserError, match=r"execution.processes=5 is more than the 4 examples"):
        train(with_fields(job, processes=5))


def test_two_nodes_meet(tied_llama: Path, tmp_path: Path) -> None:
    """Two torchruns of one process each, as on two machines that share the folder."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = make_job(tied_llama, tmp_path / "both", processes=1, nodes=2, rendezvous=f"127.0.0.1:{port}")
    joiners: list[subprocess.Popen[bytes]] = []

    def join() -> None:
        launch = tmp_path / "both/launch"
        if not joiners and (launch / "job.json").exists():
            joiners.append(subprocess.Popen(workers(job).command(), stderr=subprocess.DEVNULL))

    train(job, check_lease=join)
    assert joiners[0].wait(60) == 0
    train(make_job(tied_llama, tmp_path / "one"))
    assert_near(tmp_path / "both", tmp_path / "one")


def test_a_job_survives_its_files(tied_llama: Path, tmp_path: Path) -> None:
    job = make_job(tied_llama, tmp_path, {"lora_targets": ["q_proj"], "lora_rank": 2}, evaluate_every=3)
    named = [dataclasses.replace(example, where=f"é.json: row {n}") for n, example in enumerate(job.examples)]
    job = dataclasses.replace(job, examples=named)
    write_job(job, tmp_path / "launch", owner=17)
    again = read_job(tmp_path / "launch")
    assert read_owner(tmp_path / "launch") == LaunchOwner(pid=17, here=True)
    for field in dataclasses.fields(TrainingJob):
        if field.name not in ("tokenizer", "examples", "held_out", "folder"):
            assert getattr(again, field.name) == getattr(job, field.name), field.name
    assert [example.token_T.tolist() for example in again.examples] == [e.token_T.tolist() for e in job.examples]
    assert [example.role_T.tolist() for example in again.examples] == [e.role_T.tolist() for e in job.examples]
    assert [example.where for example in again.examples] == [example.where for example in job.examples]
    assert (again.held_out, again.folder) == ([], tmp_path.absolute())
    assert again.tokenizer("Name three colours") == job.tokenizer("Name three colours")
