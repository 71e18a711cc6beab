"""The harness in two processes: every score and standard error of one, to the last digit; mistakes in a line."""

import contextlib
import dataclasses
import json
import os
from pathlib import Path

import psutil
import pytest
import torch

from plw.errors import ClaimLostError, UserError
from plw.evaluate.lm_eval.data_parallel import data_parallel
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.lm_eval.launch import HarnessJob, read_harness_job, write_harness_job
from plw.evaluate.models.hf import EvalModel
from plw.launch.group import Group
from plw.results.items import write_items
from tests.distributed.harness_jobs import DOCUMENTS, make_harness_job, together

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def job(tiny_llama: Path, tmp_path: Path) -> HarnessJob:
    return make_harness_job(tiny_llama, tmp_path)


def test_two_processes_have_the_scores_of_one_to_the_last_digit(job: HarnessJob, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = run_tasks(EvalModel.load(job.model), job.suite, job.files, job.task_folders)
    heard: list[tuple[int, int]] = []

    job = dataclasses.replace(job, suite=dataclasses.replace(job.suite, samples=True))
    both = together(job, progress=lambda done, total, note="": heard.append((done, total)))

    assert both.scores == alone.scores
    assert both.raw == alone.raw
    write_items(tmp_path / "alone.parquet", alone.items)
    assert alone.items
    assert job.items.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert {score.benchmark: score.n for score in both.scores} == DOCUMENTS
    with_error = {score.benchmark for score in both.scores if score.stderr is not None}
    assert with_error == set(DOCUMENTS) - {"whole"}
    assert heard
    assert all(0 < done <= total for done, total in heard)
    assert not (tmp_path / "launch").exists()
    logged = {path.name.split("_")[2]: path.read_text() for path in job.samples.glob("samples_toy_*.jsonl")}
    assert {name: len(text.splitlines()) for name, text in logged.items()} == DOCUMENTS


def test_each_batch_is_one_processs_and_a_sampled_one_everyones() -> None:
    from lm_eval.models import huggingface

    requests = [(f"{number:02}", {"do_sample": number >= 20}) for number in range(25)]
    found, alone = [], list(huggingface.Collator(requests, group_by="gen_kwargs").get_batched(n=4))
    for rank in range(3):
        with data_parallel(Group(rank=rank, size=3)):
            found.append(list(huggingface.Collator(requests, group_by="gen_kwargs").get_batched(n=4)))
    shares = [[batch for batch in share if batch[0] < requests[20]] for share in found]
    assert [len(share) for share in shares] == [2, 2, 1]
    assert sorted(batch for share in shares for batch in share) == alone[:5]
    assert all(share[-2:] == alone[5:] for share in found)


def test_a_mistake_in_a_worker_is_its_own_line(job: HarnessJob, tmp_path: Path) -> None:
    (file,) = job.files["choice"].values()
    file.write_text(file.read_text().replace('"a": "', '"a": "' + "zq " * 1500, 1))
    with pytest.raises(UserError, match=r"^suite\.tasks: an answer .* context of 2048 tokens") as caught:
        together(job)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "launch/output.txt").exists()


def test_a_lost_claim_ends_every_process(job: HarnessJob, tmp_path: Path) -> None:
    launch = tmp_path / "launch"

    def check_lease() -> None:
        if len(list(launch.glob("worker-*.json"))) == 2:
            raise ClaimLostError("taken over")

    with pytest.raises(ClaimLostError):
        together(job, check_lease=check_lease)
    for path in launch.glob("worker-*.json"):
        pid = json.loads(path.read_text())["pid"]
        # The number may have gone to another process since; a process that has ended may wait to be collected.
        with contextlib.suppress(psutil.NoSuchProcess):
            assert "plw.evaluate.lm_eval.worker" not in psutil.Process(pid).cmdline()
    assert not (launch / "result.json").exists()


def test_a_job_survives_its_file(job: HarnessJob, tmp_path: Path) -> None:
    write_harness_job(job, tmp_path / "launch", owner=17)
    assert read_harness_job(tmp_path / "launch") == job
