"""Checkpoints: whole or absent, the last few kept, broken ones passed over."""

from pathlib import Path

import torch

from plw.train import checkpoint
from plw.train.checkpoint import Position
from plw.train.log import TrainingLog, logged_steps


def position(step: int) -> Position:
    return Position(step=step, seconds=1.5, run="r")


def test_the_last_ones_are_kept_in_numeric_order(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        checkpoint.save(tmp_path, position(step), {"x": torch.full((3,), float(step))}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-11"]
    found = checkpoint.load_latest(tmp_path, at_most=99)
    assert found is not None
    assert found.position == position(11)
    assert found.tensors["x"].tolist() == [11.0] * 3
    older = checkpoint.load_latest(tmp_path, at_most=10)
    assert older is not None
    assert older.position.step == 10
    assert checkpoint.load_latest(tmp_path, at_most=9) is None


def test_broken_ones_and_leftovers_are_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, position(step), {"x": torch.zeros(100)}, keep=9)
    (tmp_path / "step-4" / "state.json").unlink()
    whole = (tmp_path / "step-3" / "state.safetensors").read_bytes()
    (tmp_path / "step-3" / "state.safetensors").write_bytes(whole[:-50])
    (tmp_path / "step-2" / "state.json").write_text('{"step": 2')
    (tmp_path / ".step-5.tmp").mkdir()
    (tmp_path / ".step-5.tmp" / "state.safetensors").write_bytes(whole[:20])
    (tmp_path / "step-x").mkdir()
    found = checkpoint.load_latest(tmp_path, at_most=99)
    assert found is not None
    assert found.position.step == 1
    # The leftover does not stand in the way of the same step's next attempt.
    checkpoint.save(tmp_path, position(5), {"x": torch.ones(1)}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-5", "step-x"]


def test_a_torn_log_is_read_up_to_the_tear(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert logged_steps(path) == []
    with TrainingLog(path, []) as log:
        for step in (1, 2, 3):
            log.append({"step": step})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in logged_steps(path)] == [1, 2, 3]
    with TrainingLog(path, logged_steps(path)[:2]) as log:
        log.append({"step": 3, "again": True})
    assert logged_steps(path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]
