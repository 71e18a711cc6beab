"""Checkpoints: whole or absent, the last few kept, broken ones passed over."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from plw.data.tokenizer import load_tokenizer
from plw.errors import ClaimLostError
from plw.runtime.interrupt import Interrupted
from plw.train import checkpoint
from plw.train.checkpoint import TrainProgress
from plw.train.log import TrainingLog, logged_steps
from plw.train.model.load import load_model
from plw.train.model.save import save_model
from tests.small_disk import CannotMountError, small_disk


def position(step: int) -> TrainProgress:
    return TrainProgress(step=step, seconds=1.5, run="r")


def test_the_last_ones_are_kept_in_numeric_order(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        checkpoint.save(tmp_path, position(step), {"x": torch.full((3,), float(step))}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-11"]
    assert checkpoint.latest(tmp_path, at_most=99) == position(11)
    assert checkpoint.latest(tmp_path, at_most=10) == position(10)
    assert checkpoint.latest(tmp_path, at_most=9) is None
    place = {"x": torch.zeros(3), "y": torch.ones(1)}
    assert checkpoint.load(tmp_path, 10, place) == {"x"}
    assert (place["x"].tolist(), place["y"].tolist()) == ([10.0] * 3, [1.0])
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in ("", ".safetensors", ".json")]


SPIKE = """
import resource, sys, torch
from pathlib import Path
from plw.train import checkpoint
checkpoint.FILE_BYTES = 16 << 20
def save(step, tensors):
    checkpoint.save(Path(sys.argv[1]), checkpoint.TrainProgress(step=step, seconds=1.0, run="r"), tensors, keep=1)
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
tensors = {f"x{number}": torch.full((1 << 19,), float(number)) for number in range(64)}
save(1, {"x0": tensors["x0"]})
before = most()
save(2, tensors)
print(most() - before)
"""


def test_saving_takes_the_memory_of_a_file_and_not_that_of_all(tmp_path: Path) -> None:
    """torch makes the bytes of a file twice before it writes them: 512 MiB of tensors once took another GiB."""
    done = subprocess.run([sys.executable, "-c", SPIKE, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 3 * (16 << 20) < 128 << 20
    files = sorted((tmp_path / "step-2").glob("*.safetensors"))
    assert sum(path.stat().st_size for path in files) > 128 << 20
    assert max(path.stat().st_size for path in files) < 17 << 20
    found = {f"x{number}": torch.zeros(1 << 19) for number in range(64)}
    checkpoint.load(tmp_path, 2, found)
    assert all((tensor == number).all() for number, tensor in enumerate(found.values()))


def test_broken_ones_and_leftovers_are_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint.save(tmp_path, position(step), {"x": torch.zeros(100)}, keep=9)
    (tmp_path / "step-4" / "state.json").unlink()
    (shard,) = (tmp_path / "step-3").glob("*.safetensors")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-50])
    (tmp_path / "step-2" / "state.json").write_text('{"step": 2')
    (tmp_path / ".step-5.tmp").mkdir()
    (tmp_path / ".step-5.tmp" / shard.name).write_bytes(whole[:20])
    (tmp_path / "step-x").mkdir()
    assert checkpoint.latest(tmp_path, at_most=99) == position(1)
    # The leftover does not stand in the way of the same step's next attempt.
    checkpoint.save(tmp_path, position(4), {"x": torch.ones(1)}, keep=9)
    assert checkpoint.latest(tmp_path, at_most=99) == position(4), "nor does a broken one"
    checkpoint.save(tmp_path, position(5), {"x": torch.ones(1)}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-5", "step-x"]


def test_one_whose_bytes_changed_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, position(step), {"x": torch.zeros(100)}, keep=9)
    (shard,) = (tmp_path / "step-2").glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-64:] = b"\x01" * 64
    shard.write_bytes(content)
    assert checkpoint.latest(tmp_path, at_most=99) == position(1)


def test_one_whose_state_was_changed_is_passed_over(tmp_path: Path) -> None:
    """Another step or run in it would be believed, or refused as a run of other data."""
    for step in (1, 2):
        checkpoint.save(tmp_path, position(step), {"x": torch.zeros(1)}, keep=9)
    state = tmp_path / "step-2" / "state.json"
    whole = state.read_text()
    for old, new in (('"step": 2', '"step": 3'), ('"run": "r"', '"run": "s"'), ("seconds", "tecondt")):
        assert old in whole
        state.write_text(whole.replace(old, new))
        assert checkpoint.latest(tmp_path, at_most=99) == position(1)


def test_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """Torch wraps the system's error in what is no ``Exception``, which once ended the whole grid."""
    try:
        with small_disk(tmp_path / "disk", "1m") as disk, pytest.raises(OSError, match="No space left") as told:
            checkpoint.save(disk, TrainProgress(step=1, seconds=1.0, run="r"), {"w": torch.zeros(2**20)}, keep=2)
    except CannotMountError as why:
        pytest.skip(str(why))
    assert told.value.errno == errno.ENOSPC


def test_a_signal_while_it_is_written_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(FileSystemWriter, "_write_data", stopped)
    with pytest.raises(Interrupted):
        checkpoint.save(tmp_path, TrainProgress(step=1, seconds=1.0, run="r"), {"w": torch.zeros(2)}, keep=2)


def test_a_process_that_lost_its_claim_while_it_wrote_leaves_nothing(tmp_path: Path) -> None:
    """It was stopped, another has taken its work over and is done; then it wakes."""
    folder = tmp_path / "checkpoints"
    with pytest.raises(ClaimLostError):
        checkpoint.save(folder, position(1), {"x": torch.zeros(1)}, keep=1, check_lease=lose)
    assert not folder.exists()
    checkpoint.save(folder, position(1), {"x": torch.ones(1)}, keep=1)
    with pytest.raises(ClaimLostError):
        checkpoint.save(folder, position(2), {"x": torch.zeros(1)}, keep=1, check_lease=lose)
    assert [path.name for path in folder.iterdir()] == ["step-1"]


def test_a_model_of_a_process_that_lost_its_claim_stands_in_nobodys_place(tiny_llama: Path, tmp_path: Path) -> None:
    loaded = load_model(str(tiny_llama), load_tokenizer(str(tiny_llama)))
    folder = tmp_path / "model"

    def other_is_done() -> None:
        folder.mkdir()
        (folder / "config.json").write_text("of the other")
        lose()

    with pytest.raises(ClaimLostError):
        save_model(loaded, folder, check_lease=other_is_done)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "model", "model/config.json",
    ]  # fmt: skip
    assert (folder / "config.json").read_text() == "of the other"


class Layers(torch.nn.Module):
    """A trained weight, a frozen one, and buffers of which one belongs to the saved state."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = (torch.nn.Parameter(torch.rand(3)) for _ in range(2))
        self.frozen.requires_grad_(False)
        self.register_buffer("kept", torch.rand(2))
        self.register_buffer("made_again", torch.rand(2), persistent=False)


def stepped(model: Layers) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW([model.trained], lr=0.1)
    model.trained.sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("with_random_state", [True, False])
def test_what_the_next_step_depends_on_is_put_back(with_random_state: bool, tmp_path: Path) -> None:
    """A process that did not exist when the checkpoint was made keeps its own random state."""
    model = Layers()
    tensors = checkpoint.capture(model, stepped(model))
    of_model = {name for name in tensors if name.startswith("model.")}
    assert of_model == {"model.trained", "model.kept"}
    if not with_random_state:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("random.")}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    checkpoint.save(tmp_path, position(1), tensors, keep=1)
    other = Layers()
    optimizer = torch.optim.AdamW([other.trained], lr=0.1)
    state = before["random.cpu.0"] if with_random_state else torch.get_rng_state()
    checkpoint.restore(other, optimizer, tmp_path, 1)
    assert torch.equal(torch.get_rng_state(), state)
    found = checkpoint.capture(other, optimizer)
    for name, tensor in before.items():
        if not name.startswith("random."):
            assert torch.equal(found[name], tensor), name


def lose() -> None:
    raise ClaimLostError


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
