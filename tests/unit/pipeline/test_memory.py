"""A worker's memory: no stage takes more than the training, and none keeps what it no longer needs."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plw.evaluate.models.score_rows import rows_that_fit
from plw.testing.models import make_random_llama
from tests.unit.pipeline.conftest import OwnStudy

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY, HIDDEN = 49_152, 512
WEIGHTS_MIB = VOCABULARY * HIDDEN * 4 / 2**20
"""Of the embedding, which is nearly all of the model: 96 MiB."""
MARGIN_MIB = 60
QUESTIONS = [
    {"goal": f"Name {n} colours. " * 12, "sol1": f"It is {n}.", "sol2": "No.", "label": n % 2} for n in range(16)
]
SUITE = """
name: big
builtin_tasks: false
tasks:
  piqa: {{task: world_piqa, group: multiple_choice, metric: acc_norm, files: {{test: {folder}/long.jsonl}}}}
prompts:
  alpaca_eval: {{protocol: alpaca_eval, prompts: {folder}/prompts.json}}
decoding: {{max_new_tokens: 4}}
diagnostics: {{memorisation_samples: 8, memorisation_max_new_tokens: 4, loss_window: 2}}
bootstrap_iterations: 10
"""


def test_rows_fit_and_are_never_none() -> None:
    limit = 128 << 20
    for vocabulary, tokens in ((1536, 40), (49_152, 100), (128_256, 4096)):
        rows = rows_that_fit(vocabulary, limit, tokens)
        assert rows == 1 or rows * tokens * vocabulary * 8 <= limit
        assert (rows + 1) * tokens * vocabulary * 8 > limit
    assert rows_that_fit(1536, limit, 80) >= 64  # a batch of the embedded world is one part


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's account of a process is read from /proc")
def test_no_stage_takes_more_than_the_training_and_what_it_needed_is_given_back(
    own_study: OwnStudy, tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    (tmp_path / "conf/suite/big.yaml").write_text(SUITE.format(folder=tmp_path))
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    big = make_random_llama(tmp_path / "big", tiny_tokenizer, hidden=HIDDEN, layers=1, heads=8, vocabulary=VOCABULARY)
    choice = ("suite=big", "stages=[train,diagnose,harness,generate]", "execution.threads=1")
    cells = [own_study(*choice), own_study(*choice, f"model.path={big}", "model.name=big")]
    (tmp_path / "cells.json").write_text(json.dumps([asdict(cell) for cell in cells]))
    script = Path(__file__).with_name("stage_memory.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "cells.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3]), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["errors"]
    peaks = {stage: values["peak"] - found["before"]["peak"] for stage, values in found["stages"].items()}
    held = {stage: values["held"] - found["before"]["held"] for stage, values in found["stages"].items()}
    # Weights, gradient and two moments; the logits of the benchmark's one batch alone would be 1,000 MiB.
    assert peaks["train"] > 3 * WEIGHTS_MIB
    assert max(peaks.values()) <= peaks["train"] + MARGIN_MIB, peaks
    assert held["train"] < 0.5 * WEIGHTS_MIB + MARGIN_MIB, held
    # Base and trained model are compared; the trained one stays for the stages that follow.
    assert max(held[stage] for stage in ("diagnose", "harness", "generate")) < 1.5 * WEIGHTS_MIB + MARGIN_MIB, held
    assert found["after"] - found["before"]["held"] < 0.5 * WEIGHTS_MIB + MARGIN_MIB, found
