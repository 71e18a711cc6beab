"""Ctrl-C and SIGTERM, alone and in a sweep: one line, exit 130 or 143, a checkpoint that the same command takes up."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Study, environment

pytestmark = pytest.mark.slow

STEPS = 400


def words(model: Path, folder: Path, weights: str) -> tuple[str, ...]:
    """Cells that only train, for long."""
    rows = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(8)]
    (folder / "data.json").write_text(json.dumps(rows))
    return (
        "-m", "study=own", "scale=own", "model=folder", "model.name=tiny", f"model.path={model}", "dataset=file",
        "dataset.name=mine", f"dataset.path={folder}/data.json", "suite=piqa", "tracker=none", "stages=[train]",
        f"recipe.epochs={STEPS}", "recipe.batch_size=8", f"loss.prompt_weight={weights}",
    )  # fmt: skip


@pytest.mark.parametrize(("number", "code", "workers"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)])
def test_a_sweep_that_is_asked_to_stop(
    number: int, code: int, workers: int, study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    weights = "0,0.1" if workers > 1 else "0.1"
    command = study.command("run", *words(tiny_llama, tmp_path, weights), f"execution.workers={workers}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    logs: list[Path] = []
    deadline = time.monotonic() + 120
    while len(logs) < workers or any(log.read_text().count("\n") < 3 for log in logs):
        assert time.monotonic() < deadline, "no training was under way within two minutes"
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
        logs = list(study.runs.rglob("log.jsonl"))
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    (line,) = [line for line in errors.splitlines() if line.startswith("plw: ")]
    assert signal.Signals(number).name in line
    assert "Traceback" not in errors
    assert "resource_tracker" not in errors
    steps = [int(path.name.removeprefix("step-")) for path in study.runs.rglob("step-*")]
    assert len(steps) == workers
    assert all(3 <= step < STEPS for step in steps)
    study.call("run", *words(tiny_llama, tmp_path, weights), f"execution.workers={workers}")
    resumed = [json.loads(path.read_text())["training"]["resumed_from"] for path in study.runs.rglob("record.json")]
    assert sorted(resumed) == sorted(steps)


@pytest.mark.parametrize("workers", [1, 2])
def test_hours_that_are_used_up_leave_cells_for_the_next_command(
    workers: int, study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    chosen = (*words(tiny_llama, tmp_path, "0,0.1"), "recipe.epochs=1", f"execution.workers={workers}")
    first = study.call("run", *chosen, "execution.budget_hours=1e-7", code=75)
    assert "0 cells run" in first.stdout
    assert "2 cells not begun: the hours of execution.budget_hours are used up" in first.stdout
    assert first.stderr.splitlines()[-1] == "plw: 2 cells left for later; the same command continues"
    second = study.call("run", *chosen, "execution.budget_hours=1")
    assert "2 cells run, 0 done before" in second.stdout
    assert "not begun" not in second.stdout
