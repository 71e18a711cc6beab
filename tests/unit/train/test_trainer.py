"""The loop: a model folder and a log at the end, the same ones however often the run was killed."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from plw.config.loss import LossConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import ClaimLostError, StageError, UserError
from plw.runtime.interrupt import Interrupted, interruptible, raise_if_requested
from plw.testing.jobs import training_job, with_fields
from plw.train.job import TrainingJob
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROOT = Path(__file__).resolve().parents[3]


def make_examples() -> list[EncodedExample]:
    """Fourteen: four steps of four an epoch, the last one short. Every third token has no weight."""
    dice = np.random.default_rng(0)
    made = []
    for _ in range(14):
        length, prompt = int(dice.integers(8, 30)), int(dice.integers(1, 7))
        role_T = (np.arange(length) >= prompt).astype(np.uint8)
        token_T, weight_T = dice.integers(3, 400, length).astype(np.int32), (np.arange(length) % 3 > 0).astype(float)
        made.append(EncodedExample(token_T=token_T, role_T=role_T, weight_T=weight_T))
    return made


def make_job(model: Path, tokenizer: "PreTrainedTokenizerBase", folder: Path, **fields: Any) -> TrainingJob:
    recipe = RecipeConfig(name="r", epochs=2, batch_size=4, learning_rate=1e-3, weight_decay=0.01, max_length=64)
    defaults: dict[str, Any] = {
        "examples": make_examples(),
        "loss": LossConfig(prompt_weight=0.1),
        "recipe": recipe,
        "seed": 7,
        "token_budget": 64,
        "checkpoint_seconds": 1e-9,
    }
    return training_job(model, tokenizer, folder, **{**defaults, **fields})


def outcome(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """The weights' bytes, and the log without its times."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return (folder / "model/model.safetensors").read_bytes(), [timeless(row) for row in rows]


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "seconds": None, "tokens_per_second": None}


@pytest.fixture(scope="module")
def undisturbed(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(make_job(tiny_llama, tiny_tokenizer, folder, checkpoint_seconds=300.0))
    return folder


def test_what_a_run_leaves(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    random_state, threads = torch.get_rng_state(), torch.get_num_threads()
    told: list[dict[str, Any]] = []
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)
    summary = train(job, on_step=told.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "model"]
    assert (summary.steps, summary.examples, summary.resumed_from, summary.empty_units) == (8, 14, 0, 0)
    assert summary.parameters == sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(tiny_llama).parameters())
    assert summary.tokens == 2 * sum(len(example.token_T) for example in job.examples)
    # The same bytes with checkpoints and without.
    assert outcome(tmp_path) == outcome(undisturbed)
    rows = outcome(tmp_path)[1]
    assert [timeless(row) for row in told] == [{**row, "steps": 8} for row in rows]
    assert [(row["step"], row["epoch"]) for row in rows] == [(n + 1, n // 4 + 1) for n in range(8)]
    assert rows[0]["learning_rate"] == 0
    assert rows[-1]["completion_loss"] < rows[0]["completion_loss"]
    assert (tmp_path / "model/generation_config.json").is_file()
    AutoTokenizer.from_pretrained(tmp_path / "model")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert after.dtype == torch.float32
    assert torch.equal(random_state, torch.get_rng_state())
    assert threads == torch.get_num_threads()
    assert not torch.are_deterministic_algorithms_enabled()


def stop_after(calls: int) -> Callable[[], None]:
    """Permission to go on that is withdrawn after so many calls."""
    left = [None] * calls

    def check_lease() -> None:
        if not left:
            raise ClaimLostError("taken over")
        left.pop()

    return check_lease


def test_stopped_at_every_step_it_ends_the_same(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)
    for attempt in range(1, 8):
        # At the start, before a step, before its checkpoint is written and renamed, before the next step: then the
        # claim is gone, so each attempt logs a step that its checkpoint does not have.
        with pytest.raises(ClaimLostError):
            train(job, check_lease=stop_after(5))
        steps = [int(path.name.removeprefix("step-")) for path in (tmp_path / "checkpoints").iterdir()]
        assert max(steps) == attempt
        assert len(steps) <= 2
        assert len((tmp_path / "log.jsonl").read_text().splitlines()) == attempt + 1
    with pytest.raises(ClaimLostError):
        train(job, check_lease=stop_after(2))
    assert not (tmp_path / "model").exists(), "a lost claim saves no model"
    assert train(job).resumed_from == 7
    assert outcome(tmp_path) == outcome(undisturbed)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trainer import make_job
from plw.data.tokenizer import load_tokenizer
from plw.train.trainer import train

def die(row):
    if row["step"] == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

model = Path({model!r})
train(make_job(model, load_tokenizer(model), Path({folder!r})), on_step=die)
"""


def test_killed_with_9_and_with_a_torn_checkpoint_it_ends_the_same(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), step=6, model=str(tiny_llama), folder=str(tmp_path))
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    # Step 6 was logged, its checkpoint was not made; tear the newest one and leave a half-written one behind.
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 6
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-4", "step-5"]
    (torn,) = (tmp_path / "checkpoints/step-5").glob("*.safetensors")
    torn.write_bytes(torn.read_bytes()[:1000])
    (tmp_path / "checkpoints/.step-6.tmp").mkdir()
    (tmp_path / "checkpoints/.step-6.tmp/state.safetensors").write_bytes(b"half")
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "epo')
    # And a crash in the middle of an earlier save of the model.
    (tmp_path / ".model.tmp").mkdir()
    summary = train(make_job(tiny_llama, tiny_tokenizer, tmp_path))
    assert summary.resumed_from == 4
    assert outcome(tmp_path) == outcome(undisturbed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "model"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_a_checkpoint_of_the_step_under_way(
    number: int, tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path, checkpoint_seconds=300.0)

    def ask(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            signal.raise_signal(number)

    with pytest.raises(Interrupted) as caught, interruptible():
        train(job, on_step=ask)
    assert caught.value.number == number
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-3"]
    assert train(job).resumed_from == 3
    assert outcome(tmp_path) == outcome(undisturbed)


def test_a_signal_in_the_last_step_lets_the_model_be_saved(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)

    def ask(row: dict[str, Any]) -> None:
        if row["step"] == row["steps"]:
            signal.raise_signal(signal.SIGTERM)

    with interruptible():
        train(job, on_step=ask)
        with pytest.raises(Interrupted):
            raise_if_requested()
    assert outcome(tmp_path) == outcome(undisturbed)


def test_dropout_resumes_too(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    dropped = AutoModelForCausalLM.from_pretrained(tiny_llama)
    dropped.config.attention_dropout = 0.3
    dropped.save_pretrained(tmp_path / "base")
    folders = [tmp_path / "once", tmp_path / "twice"]
    jobs = [make_job(tmp_path / "base", tiny_tokenizer, folder) for folder in folders]
    train(jobs[0])

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(jobs[1], on_step=stop)
    train(jobs[1])
    assert outcome(folders[0]) == outcome(folders[1])


def test_a_checkpoint_beyond_the_log_is_not_used(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, undisturbed: Path
) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)
    with pytest.raises(ClaimLostError):
        train(job, check_lease=stop_after(14))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-3", "step-4"]
    rows = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text("".join(rows[:3]))
    assert train(job).resumed_from == 3
    assert outcome(tmp_path) == outcome(undisturbed)


def test_another_seed_is_another_run_and_checkpoints_do_not_mix(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(job, on_step=stop)
    with pytest.raises(UserError, match="belongs to a run of other data, recipe, weights or seed"):
        train(dataclasses.replace(job, seed=8))


def test_a_missing_padding_token_is_added_as_the_mean(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bare = type(tiny_tokenizer)(
        tokenizer_object=tiny_tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>", padding_side="right"
    )
    recipe = RecipeConfig(name="r", epochs=1, batch_size=14, learning_rate=1e-3, warmup_ratio=1.0)
    train(make_job(tiny_llama, bare, tmp_path, recipe=recipe))
    assert bare.pad_token is None, "the caller's tokenizer is left alone"
    # The only step is in the warm-up, at rate 0: the weights are the old ones and their mean.
    before = AutoModelForCausalLM.from_pretrained(tiny_llama)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("[PAD]", len(tiny_tokenizer))
    assert after.config.vocab_size == len(tokenizer) == len(tiny_tokenizer) + 1
    assert after.config.pad_token_id == after.generation_config.pad_token_id == tokenizer.pad_token_id
    for old, new in (
        (before.get_input_embeddings().weight, after.get_input_embeddings().weight),
        (before.get_output_embeddings().weight, after.get_output_embeddings().weight),
    ):
        assert torch.equal(new[:-1], old)
        torch.testing.assert_close(new[-1], old.mean(dim=0))


def test_failures_are_one_line(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    job = make_job(tiny_llama, tiny_tokenizer, tmp_path)
    with pytest.raises(UserError, match="no model can be loaded from here"):
        train(dataclasses.replace(job, model=str(tmp_path)))
    with pytest.raises(UserError, match="no examples to train on"):
        train(dataclasses.replace(job, examples=[]))
    wild = dataclasses.replace(job.recipe, learning_rate=1e30, clip_norm=None, warmup_ratio=0.0, epochs=5)
    with pytest.raises(StageError, match=r"training diverged at step \d+"):
        train(dataclasses.replace(job, recipe=wild))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no CUDA device"):
            train(with_fields(job, device="cuda"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns of itself from inside its compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.parametrize("layout", ["padded", "prefix"])
def test_a_compiled_model_trains_alike(
    undisturbed: Path, tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, layout: str
) -> None:
    """To rounding: compiled kernels sum in another order."""
    train(make_job(tiny_llama, tiny_tokenizer, tmp_path, compile=True, layout=layout, checkpoint_seconds=300.0))
    plain, compiled = outcome(undisturbed)[1], outcome(tmp_path)[1]
    for name in ("loss", "grad_norm"):
        assert [row[name] for row in compiled] == pytest.approx([row[name] for row in plain], rel=1e-4)
