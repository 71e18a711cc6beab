"""DPO in several processes: the frozen model and every step as alone."""

from pathlib import Path

import numpy as np
import pytest

from plw.data.encoding import EncodedExample
from plw.testing.jobs import with_fields
from plw.train.log import logged_steps
from plw.train.trainer import train
from tests.distributed.work import make_job


def make_pairs() -> list[EncodedExample]:
    """Seven pairs of unlike lengths, whose answers begin alike."""
    dice = np.random.default_rng(0)
    made = []
    for prompt, chosen, rejected in [(4, 5, 9), (6, 12, 3), (3, 7, 7), (9, 2, 6), (1, 11, 4), (5, 5, 5), (8, 3, 8)]:
        prompt_T, first_T = dice.integers(3, 400, prompt), dice.integers(3, 400, 2)
        for length in (chosen, rejected):
            token_T = np.concatenate([prompt_T, first_T, dice.integers(3, 400, length)]).astype(np.int32)
            made.append(EncodedExample(token_T=token_T, role_T=(np.arange(len(token_T)) >= prompt).astype(np.uint8)))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_train_on_pairs_as_one_does(
    tied_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharding: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    alone = make_job(tied_llama, tmp_path / "alone", examples=make_pairs(), beta=0.3)
    together = with_fields(alone, folder=tmp_path / "together", processes=2, sharding=sharding)
    for job in (alone, together):
        told: list[str] = []
        train(job, progress=lambda done, total, note="", told=told: told.append(note))  # type: ignore[misc]
        assert set(told) == {"log-probabilities by the model before the first step"}
    rows, expected = (logged_steps(job.folder / "log.jsonl") for job in (together, alone))
    assert len(rows) == len(expected) == 4
    assert expected[-1]["loss"] < expected[0]["loss"]
    for name in ("loss", "margin", "chosen_reward", "grad_norm"):
        assert [row[name] for row in rows] == pytest.approx([row[name] for row in expected], rel=1e-4, abs=1e-6)
