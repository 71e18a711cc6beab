"""Turns to submit: processes that want one at the same moment get one after the other; a dead holder's passes on."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from plw.config import ExecutionConfig
from plw.errors import StageError
from plw.registry.owner import Owner
from plw.sweep.slurm.turn import FILE, Turn, turn_to_submit

TAKE = """
import sys, time
from pathlib import Path
from plw.config import ExecutionConfig
from plw.sweep.slurm.turn import turn_to_submit

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
with turn_to_submit(folder, ExecutionConfig(heartbeat_s=0.1, lease_timeout_s=30), print) as turn:
    print("begun", flush=True)
    others = list(folder.glob("*.inside"))
    mine = folder / f"{sys.argv[3]}.inside"
    mine.touch()
    time.sleep(seconds)
    turn.confirm()
    mine.unlink()
sys.exit(len(others))
"""


def start(folder: Path, seconds: float, name: str = "one") -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", TAKE, str(folder), str(seconds), name]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def take(folder: Path, lease_timeout_s: float = 30.0) -> tuple[float, list[str]]:
    """Seconds until the turn was this process's, and what was said."""
    said: list[str] = []
    began = time.monotonic()
    Turn(folder, lease_timeout_s).take(said.append)
    return time.monotonic() - began, said


def test_processes_that_begin_together_submit_one_after_the_other(tmp_path: Path) -> None:
    processes = [start(tmp_path / "slurm", 0.3, name) for name in "abcd"]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, "none saw another one inside"
    assert sum("submits cells of this study just now; waiting" in line for line in said) == 3
    assert not list((tmp_path / "slurm").iterdir())


def test_the_turn_of_a_killed_process_passes_on_at_once(tmp_path: Path) -> None:
    with start(tmp_path, 600) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
    seconds, said = take(tmp_path)
    assert seconds < 5
    assert f"process {process.pid} on" in said[0]


@pytest.mark.parametrize("holder", ["elsewhere", "nobody"])
def test_a_holder_that_cannot_be_asked_loses_its_turn_by_silence_alone(tmp_path: Path, holder: str) -> None:
    """On another machine, or killed before it had written who it is."""
    owner = json.dumps({"host": "elsewhere", "pid": 1, "process_started": None, "token": "x"})
    (tmp_path / FILE).write_text(owner if holder == "elsewhere" else "")
    seconds, said = take(tmp_path, lease_timeout_s=1.0)
    assert 1.0 < seconds < 5
    assert len(said) == 1


def test_who_lost_its_turn_is_told_and_leaves_the_others_alone(tmp_path: Path) -> None:
    other = replace(Owner.here(), token="other")
    with pytest.raises(StageError, match="nothing was submitted"):
        lose_turn(tmp_path, json.dumps({"host": other.host, "pid": other.pid, "token": other.token}))
    assert (tmp_path / FILE).exists()


def lose_turn(folder: Path, other: str) -> None:
    with turn_to_submit(folder, ExecutionConfig(heartbeat_s=60, lease_timeout_s=180), print) as turn:
        turn.confirm()
        (folder / FILE).write_text(other)
        turn.confirm()
