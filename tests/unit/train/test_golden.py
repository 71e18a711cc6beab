"""A hundred steps of training have the losses that they had when the curve was written.

Run as a program, ``python tests/unit/train/test_golden.py``, to write the curve again after a change that is meant to
move it; the difference in version control then shows by how much.
"""

import hashlib
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from plw.config.loss import LossConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.testing.jobs import training_job
from plw.train.log import logged_steps
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CURVE = Path(__file__).resolve().parents[2] / "assets/golden_losses.txt"
ELSEWHERE = 2e-3
"""Relative tolerance on another processor or torch: AdamW divides a gradient by its size, so rounding errors of tiny
gradients grow over the steps. Other layouts and threads of one machine, whose sums run in another order too, stay
within a tenth of this; a wrong coefficient, order or schedule is a hundred times outside."""


def hardware() -> str:
    """What decides the last digits."""
    info = Path("/proc/cpuinfo")
    about = info.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if info.exists() else []
    fields = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in about}
    found = [fields[name] for name in ("model name", "cpu family", "model", "stepping") if name in fields]
    # Virtual machines on one processor differ in what they let a guest use of it.
    flags = hashlib.sha256(" ".join(sorted(fields.get("flags", "").split())).encode()).hexdigest()[:8]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {' '.join(found) or platform.machine()}, {capability}, flags {flags}"


def losses(model: Path, tokenizer: "PreTrainedTokenizerBase", folder: Path, **fields: object) -> list[float]:
    """Forty examples, four a step, ten epochs."""
    dice = np.random.default_rng(0)
    examples = []
    for _ in range(40):
        length, prompt = int(dice.integers(8, 60)), int(dice.integers(2, 30))
        # Learnable: the tokens run on from a start.
        token_T = ((dice.integers(400) + np.arange(length)) % 397 + 3).astype(np.int32)
        examples.append(EncodedExample(token_T=token_T, role_T=(np.arange(length) >= prompt).astype(np.uint8)))
    recipe = RecipeConfig(name="r", epochs=10, batch_size=4, learning_rate=2e-3, weight_decay=0.01, max_length=64)
    loss = LossConfig(prompt_weight=0.1, normalizer="weights")
    about = {"examples": examples, "loss": loss, "recipe": recipe, "seed": 42, "token_budget": 128}
    train(training_job(model, tokenizer, folder, **{**about, **fields}))
    return [row["loss"] for row in logged_steps(folder / "log.jsonl")]


def read_curve() -> tuple[str, list[float]]:
    lines = CURVE.read_text(encoding="utf-8").splitlines()
    return lines[0].removeprefix("# "), [float(line) for line in lines[1:]]


def test_the_curve(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    written_on, expected = read_curve()
    found = losses(tiny_llama, tiny_tokenizer, tmp_path)
    assert len(found) == len(expected) == 100
    assert expected[-1] < 0.7 * expected[0]
    if written_on == hardware():
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=ELSEWHERE)


@pytest.mark.parametrize("layout", ["packed", "prefix"])
def test_another_layout_stays_far_within_the_tolerance(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, layout: str
) -> None:
    found = losses(tiny_llama, tiny_tokenizer, tmp_path, layout=layout, token_budget=300)
    assert found == pytest.approx(read_curve()[1], rel=ELSEWHERE / 10 if read_curve()[0] == hardware() else ELSEWHERE)


def write_curve() -> None:
    """Write the curve of this machine."""
    from plw.testing.models import make_random_llama
    from plw.testing.tokenizers import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    with tempfile.TemporaryDirectory() as name:
        model = make_random_llama(Path(name) / "model", tokenizer, hidden=32, heads=2)
        found = losses(model, tokenizer, Path(name) / "run")
    CURVE.write_text("\n".join([f"# {hardware()}", *map(repr, found), ""]), encoding="utf-8")


if __name__ == "__main__":
    write_curve()
