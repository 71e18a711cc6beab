"""The examples are real commands: each is composed and planned, and what a laptop can do is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import environment

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.sh"))
RECORDER = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
"""
"""Stands in for `plw` where a script would train for hours: it writes down what it was asked."""

pytestmark = pytest.mark.slow


def commands(script: Path, folder: Path, **variables: str) -> list[list[str]]:
    """The words of every `plw` command that a script gives."""
    folder.mkdir()
    log, recorder = folder / "commands.jsonl", folder / "plw"
    recorder.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    recorder.chmod(0o755)
    there = environment() | variables | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", str(script)], env=there, cwd=folder, check=True, capture_output=True)
    return [json.loads(line) for line in log.read_text().splitlines()]


def plw(*words: str, **variables: str) -> str:
    command = [str(Path(sys.executable).with_name("plw")), *words]
    done = subprocess.run(
        command, env=environment() | {"COLUMNS": "180"} | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def variables(tmp_path: Path, tiny_llama: Path) -> dict[str, str]:
    """What the scripts ask for."""
    data = tmp_path / "data.json"
    data.write_text(json.dumps([{"instruction": f"Say {n}.", "input": "", "output": "Yes. " * n} for n in range(1, 9)]))
    return {
        "MODEL": str(tiny_llama), "DATA": str(data), "JUDGE": "http://127.0.0.1:8000/v1",
        "RUNS": str(tmp_path / "runs"), "REGISTRY": f"sqlite:///{tmp_path}/registry.sqlite",
    }  # fmt: skip


CELLS = {"mini_study": 54, "own_data": 4, "gpu_node": 60, "slurm": 60}


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_what_an_example_runs_is_planned(script: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    """Every sweep of the script is planned by the real command: each word is a field, each cell composes."""
    given = commands(script, tmp_path / script.stem, **variables)
    sweeps = [words[2:] for words in given if words[:2] == ["run", "-m"]]
    assert sweeps
    for words in sweeps:
        # The planner stands offline, where nothing of a model's hub can be asked; a GPU's hours need no measurement.
        here = (f"execution.cache={tmp_path}/cache", f"execution.runs={tmp_path}/runs", "execution.cost.device=gpu")
        text = plw("plan", *words, *here, HF_HUB_OFFLINE="1")
        assert f"{CELLS[script.stem]} cells" in text
    assert set(CELLS) == {path.stem for path in EXAMPLES}


def test_the_other_commands_of_own_data_run_as_they_are(tmp_path: Path, variables: dict[str, str]) -> None:
    given = commands(ROOT / "examples" / "own_data.sh", tmp_path / "own", **variables)
    (stats,) = (words for words in given if words[0] == "stats")
    (recommend,) = (words for words in given if words[0] == "recommend")
    assert " 8 " in plw(*stats)
    assert "R_g 3.6" in plw(*recommend, f"execution.runs={tmp_path}/runs")


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_called(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[1].startswith("# ")
    assert any(f"examples/{script.name}" in line for line in lines if line.startswith("#   "))
    assert max(map(len, lines)) <= 120


def test_the_script_for_trl_runs_as_it_is() -> None:
    """On a CPU, without a network; the losses fall."""
    offline = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "trl_prompt_weight.py")],
        env=environment() | offline, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("prompt weight")]
    assert len(told) == 3
    for line in told:
        first, last = line.partition(": loss ")[2].split(" -> ")
        assert float(last) < float(first)
