"""A harness stage that is killed continues with the batches that it lacks, to the scores and items of a whole one."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest
import torch

from plw.evaluate.append_log import IDENTITY
from plw.evaluate.lm_eval.answer_log import CONTINUES, AnswerLog, answer_files, check_answer_files
from plw.evaluate.lm_eval.harness import HarnessResult, run_tasks
from plw.evaluate.lm_eval.launch import HarnessJob, write_harness_job
from plw.evaluate.models.hf import EvalModel
from plw.files.storage import storage_error
from plw.results.items import ITEMS, read_items
from tests.distributed import killed_harness
from tests.distributed.harness_jobs import make_harness_job, together

ROOT = Path(__file__).resolve().parents[2]
Killed = Callable[[HarnessJob, int], None]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> HarnessJob:
    return make_harness_job(tiny_llama, tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def undisturbed(made: HarnessJob) -> HarnessResult:
    torch.set_num_threads(1)
    return run_tasks(EvalModel.load(made.model), made.suite, made.files, made.task_folders)


@pytest.fixture
def job(made: HarnessJob, tmp_path: Path) -> HarnessJob:
    """The job in a folder without answers."""
    return replace(made, folder=tmp_path, items=tmp_path / ITEMS)


@pytest.fixture(scope="module")
def killed() -> Iterator[Killed]:
    """Evaluates in a process of its own, which ends by SIGKILL at the answer of this number.

    The processes are forks of one that has imported the libraries, where no thread runs.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed_harness.__name__])

    def kill(job: HarnessJob, answers: int) -> None:
        process = context.Process(target=killed_harness.main, args=(written(job), answers))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    yield kill
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def written(job: HarnessJob) -> Path:
    """The folder that a process reads the job from."""
    write_harness_job(job, job.folder / "job", owner=os.getpid())
    return job.folder / "job"


def continued(job: HarnessJob) -> tuple[HarnessResult, list[tuple[int, int, str]]]:
    """The result, and what the progress said."""
    heard: list[tuple[int, int, str]] = []
    check_answer_files(job.folder, job.identity)
    with AnswerLog(job.folder, job.identity) as log:
        model = EvalModel.load(job.model)
        result = run_tasks(
            model, job.suite, job.files, job.task_folders, lambda *said: heard.append(said), answers=log
        )  # fmt: skip
    return result, heard


def batches(job: HarnessJob) -> list[str]:
    """The keys of all files, in the order of their lines."""
    lines = [line for path in answer_files(job.folder) for line in path.read_text().splitlines()]
    keys = [json.loads(line.partition(" ")[2])[0] for line in lines]
    return [key for key in keys if key != IDENTITY]


def assert_equal(found: HarnessResult, expected: HarnessResult) -> None:
    """To the last digit, items too."""
    assert found.scores == expected.scores
    assert found.raw == expected.raw
    assert found.items
    assert found.items == expected.items


# The progress tells 51 log-likelihoods, 2 x 3 of whole documents, 11 greedy answers and 5 sampled ones; threes at most.
@pytest.mark.parametrize("answers", [27, 56, 73])
def test_killed_and_continued_to_the_last_digit(
    job: HarnessJob, undisturbed: HarnessResult, killed: Killed, answers: int
) -> None:
    killed(job, answers)
    before = batches(job)

    result, heard = continued(job)

    assert_equal(result, undisturbed)
    after = batches(job)
    assert len(set(after)) == len(after), "a batch was computed twice"
    assert after[: len(before)] == before
    assert len(before) < len(after)
    if answers == 27:
        assert heard[0] == (25, 51, CONTINUES)
        assert heard[1] == (26, 51, "Running loglikelihood requests")


def test_killed_again_and_again(job: HarnessJob, undisturbed: HarnessResult, killed: Killed) -> None:
    """Each process comes a little further, whatever it is killed at."""
    found = [0]
    for answers in (12, 20):
        killed(job, answers)
        found.append(len(batches(job)))
    assert found == sorted(set(found))

    result, _ = continued(job)

    assert_equal(result, undisturbed)
    again, heard = continued(job)
    assert_equal(again, undisturbed)
    assert {note for _, _, note in heard} == {""}, "the model was asked for what the log has"


def test_several_processes_killed_and_continued(job: HarnessJob, undisturbed: HarnessResult) -> None:
    """Killed from outside, all at once, when each has some batches; then by one process and by two."""
    command = [sys.executable, "-m", killed_harness.__name__, str(written(job)), "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(answer_files(job.folder)) < 2 or any(path.stat().st_size < 600 for path in answer_files(job.folder)):
        assert time.monotonic() < deadline, "no answers within two minutes"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)
    workers = [json.loads(path.read_text())["pid"] for path in (job.folder / "launch").glob("worker-*.json")]
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    while any(psutil.pid_exists(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    copies = [path.read_bytes() for path in answer_files(job.folder)]
    before = batches(job)
    assert before

    both = together(job)

    assert both.scores == undisturbed.scores
    assert read_items(job.items).to_pylist() == [asdict(item) for item in undisturbed.items]
    assert len(before) < len(batches(job))
    for path, copy in zip(answer_files(job.folder), copies, strict=True):
        path.write_bytes(copy)
    alone, _ = continued(job)
    assert_equal(alone, undisturbed)
    assert set(before) < set(batches(job))


def test_what_another_stage_answered_is_not_taken(
    job: HarnessJob, undisturbed: HarnessResult, caplog: pytest.LogCaptureFixture
) -> None:
    continued(replace(job, identity={"stage": "another"}))
    (path,) = answer_files(job.folder)
    caplog.set_level(logging.INFO, "plw")

    result, heard = continued(job)

    assert_equal(result, undisturbed)
    assert heard[0][0] == 1
    told = [message for message in caplog.messages if str(path) in message]
    assert len(told) == 1
    assert "computed anew" in told[0]


@pytest.mark.parametrize("damage", ["changed", "first line", "no text", "torn"])
def test_damaged_lines_are_told_and_computed_anew(
    job: HarnessJob, undisturbed: HarnessResult, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    continued(job)
    (path,) = answer_files(job.folder)
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "changed":
        lines[3] = lines[3].replace(b"[-", b"[-1", 1)
    elif damage == "first line":
        lines[0] = lines[0].replace(b"this", b"that")
    elif damage == "no text":
        lines[5] = b"\xff\x00\n"
    else:
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
    path.write_bytes(b"".join(lines))
    caplog.set_level(logging.INFO, "plw")

    result, _ = continued(job)

    assert_equal(result, undisturbed)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    warnings = [line for line in warnings if str(path) in line]
    assert len(warnings) == (damage != "torn")
    assert all("computed anew" in line and "\n" not in line for line in warnings)
    assert any("continues" in message for message in caplog.messages) == (damage != "first line")


def test_other_batches_are_computed(job: HarnessJob, tmp_path: Path) -> None:
    """With another batch size a request has other company, so its answer is not taken from the log."""
    continued(job)
    other = replace(job, suite=replace(job.suite, batch_size=2))
    expected = run_tasks(EvalModel.load(job.model), other.suite, job.files, job.task_folders)

    result, _ = continued(other)

    assert_equal(result, expected)


def test_answers_without_a_number_are_not_kept(tmp_path: Path) -> None:
    """A device that fails may say NaN once; the next try asks again."""
    with AnswerLog(tmp_path, {"stage": "this"}) as log:
        log.put(log.key("a"), [(-1.5, True)], sampled=False)
        log.put(log.key("b"), [(-1.5, True), (float("nan"), False)], sampled=False)
    with AnswerLog(tmp_path, {"stage": "this"}) as log:
        assert log.recall(log.key("a"), 1, sampled=False) == [(-1.5, True)]
        assert log.recall(log.key("b"), 2, sampled=False) is None


def test_a_full_disk_ends_it_in_a_line(job: HarnessJob) -> None:
    """The device that the log is on is full from the second batch on."""
    with AnswerLog(job.folder, job.identity) as log, Path("/dev/full").open("ab", buffering=0) as full:
        log.put(log.key("a"), ["an answer"], sampled=False)
        log._log._file.close()
        log._log._file = full
        with pytest.raises(OSError, match="No space left on device") as caught:
            run_tasks(EvalModel.load(job.model), job.suite, job.files, job.task_folders, answers=log)
    assert "free space, then the same command continues" in str(storage_error(caught.value, "here"))
