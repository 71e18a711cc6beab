"""DPO on real pairs: losses, gradients and weights are those of TRL's DPOTrainer, in every layout, killed or not."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor

from plw.config.loss import LossConfig
from plw.config.preference import PreferenceConfig
from plw.config.training import TemplateConfig
from plw.data.pairs import check_pairs, load_pairs, prepare_pairs
from plw.data.records import ChatRecord
from plw.errors import ClaimLostError, UserError
from plw.runtime.interrupt import Interrupted, interruptible
from plw.testing.jobs import training_job, with_fields
from plw.train.job import TrainingJob
from plw.train.log import logged_steps
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from plw.data.pairs import PreparedPairs

PAIRS = 12
TEMPLATE = TemplateConfig(
    name="t", with_input="{instruction}\n{input}", without_input="{instruction}", completion=" {output}",
    turn_separator="\n\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def preference(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PreferenceConfig:
    """Twelve real pairs of one turn and not too long, as they are; three steps of four, twice."""
    rows = json.loads((shared_data / "alpaca/dpo_en_300.json").read_text())
    short = [row for row in rows if len(row["conversations"]) == 1 and len(json.dumps(row)) < 1000][:PAIRS]
    assert len(short) == PAIRS
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    path.write_text(json.dumps(short))
    return PreferenceConfig(
        name="real", path=str(path), method="dpo", format="sharegpt", epochs=2, batch_size=4, learning_rate=2e-3,
        schedule="linear", max_length=1024,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pairs(preference: PreferenceConfig, tiny_tokenizer: "PreTrainedTokenizerBase") -> "PreparedPairs":
    return prepare_pairs(preference, [Path(preference.path)], TEMPLATE, tiny_tokenizer)


def make_job(
    model: Path,
    tokenizer: "PreTrainedTokenizerBase",
    pairs: "PreparedPairs",
    preference: PreferenceConfig,
    folder: Path,
) -> TrainingJob:
    return training_job(
        model, tokenizer, folder, examples=pairs.examples, loss=LossConfig(), recipe=preference.recipe(),
        beta=preference.beta, seed=3, threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def job(
    tiny_llama: Path,
    tiny_tokenizer: "PreTrainedTokenizerBase",
    pairs: "PreparedPairs",
    preference: PreferenceConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainingJob:
    folder = tmp_path_factory.mktemp("undisturbed")
    return make_job(tiny_llama, tiny_tokenizer, pairs, preference, folder)


@pytest.fixture(scope="module")
def undisturbed(job: TrainingJob) -> Path:
    assert train(job).steps == 6
    return job.folder


def log(folder: Path) -> list[dict[str, Any]]:
    return [{**row, "seconds": None, "tokens_per_second": None} for row in logged_steps(folder / "log.jsonl")]


def weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_the_preference_loss_falls(undisturbed: Path) -> None:
    rows = log(undisturbed)
    assert rows[0]["loss"] == pytest.approx(0.6931472, abs=1e-7), "the model before its first update is the frozen one"
    assert (rows[0]["margin"], rows[0]["accuracy"]) == (0.0, 0.0)
    last = rows[3:]
    assert sum(row["loss"] for row in last) / len(last) < 0.5
    assert sum(row["accuracy"] for row in last) / len(last) > 0.9
    assert all(row["margin"] == pytest.approx(row["chosen_reward"] - row["rejected_reward"]) for row in rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL sets fields that transformers warns of
def test_every_step_is_that_of_trls_trainer(
    job: TrainingJob, undisturbed: Path, preference: PreferenceConfig, tmp_path: Path
) -> None:
    """Losses, margins and gradient norms of each step, and the weights at the end; theirs is given our order."""
    import numpy as np
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    texts = []
    for chosen, rejected in load_pairs(preference, [Path(preference.path)]):
        assert isinstance(chosen, ChatRecord)
        assert isinstance(rejected, ChatRecord)
        texts.append(
            {"prompt": chosen.messages[0].content, "chosen": f" {chosen.messages[1].content}",
             "rejected": f" {rejected.messages[1].content}"}
        )  # fmt: skip
    order = [row for epoch in (1, 2) for row in np.random.default_rng([job.seed, epoch]).permutation(PAIRS)]
    recipe = job.recipe
    arguments = DPOConfig(
        output_dir=str(tmp_path), beta=preference.beta, max_length=None, per_device_train_batch_size=4,
        num_train_epochs=1, learning_rate=recipe.learning_rate, lr_scheduler_type=recipe.schedule,
        warmup_steps=1, weight_decay=0.0, max_grad_norm=1.0, train_sampling_strategy="sequential", logging_steps=1,
        save_strategy="no", report_to="none", use_cpu=True, bf16=False, disable_tqdm=True, dataloader_pin_memory=False,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(job.model), args=arguments, processing_class=job.tokenizer,
        train_dataset=Dataset.from_list([texts[row] for row in order]),
    )  # fmt: skip
    trainer.train()
    theirs = [row for row in trainer.state.log_history if "rewards/margins" in row]
    ours = log(undisturbed)
    assert len(theirs) == len(ours)
    for one, other in zip(ours, theirs, strict=True):
        assert one["learning_rate"] == pytest.approx(other["learning_rate"])
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["margin"] == pytest.approx(other["rewards/margins"], rel=2e-5, abs=1e-7)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=2e-5)
    trained = dict(trainer.model.named_parameters())
    before, after = weights(Path(job.model)), weights(undisturbed / "model")
    for name, tensor in after.items():
        if name in trained:
            moved = (tensor - before[name]).norm()
            assert float((tensor - trained[name].detach()).norm() / moved) < 1e-4


@pytest.mark.parametrize("layout", ["padded", pytest.param("packed", marks=pytest.mark.slow)])
def test_the_layout_does_not_matter(job: TrainingJob, undisturbed: Path, tmp_path: Path, layout: str) -> None:
    """Nor how few tokens go through the model at a time; with prefixes a prompt does so once for both answers."""
    train(with_fields(dataclasses.replace(job, folder=tmp_path), layout=layout, token_budget=1100))
    found, expected = log(tmp_path), log(undisturbed)
    for name in ("loss", "margin", "grad_norm"):
        assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], rel=1e-4, abs=1e-6)
    # The prompts of four pairs; what no prediction sees is computed in neither.
    assert all(
        row["computed_tokens"] + 8 < other["computed_tokens"] for row, other in zip(expected, found, strict=True)
    )


def stop_at(step: int) -> Any:
    def on_step(row: dict[str, Any]) -> None:
        if row["step"] == step:
            raise ClaimLostError("taken over")

    return on_step


def test_killed_and_asked_to_stop_it_ends_in_the_same_weights(
    job: TrainingJob, undisturbed: Path, tmp_path: Path
) -> None:
    """The frozen model is read once, and again, from the base and not from the checkpoint, where that is damaged."""
    again = with_fields(dataclasses.replace(job, folder=tmp_path), checkpoint_seconds=1e-9)
    notes: list[str] = []

    def hear(done: int, total: int, note: str = "") -> None:
        notes.append(note)

    def reads_of_the_frozen_model() -> int:
        found = sum(note.startswith("log-probabilities by the model before") for note in notes)
        notes.clear()
        return found

    with pytest.raises(ClaimLostError):
        train(again, on_step=stop_at(3), progress=hear)
    once = reads_of_the_frozen_model()
    assert once

    def ask(row: dict[str, Any]) -> None:
        if row["step"] == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted), interruptible():
        train(again, on_step=ask, progress=hear)
    assert reads_of_the_frozen_model() == 0
    assert not (tmp_path / "model").exists()
    kept = tmp_path / "checkpoints/reference.json"
    kept.write_text(kept.read_text().replace("-", "", 1))
    assert train(again, progress=hear).resumed_from == 4
    assert reads_of_the_frozen_model() == once
    assert (tmp_path / "model/model.safetensors").read_bytes() == (undisturbed / "model/model.safetensors").read_bytes()
    assert log(tmp_path) == log(undisturbed)
    assert not kept.parent.exists()


def test_another_beta_is_another_run(job: TrainingJob, tmp_path: Path) -> None:
    again = with_fields(dataclasses.replace(job, folder=tmp_path), checkpoint_seconds=1e-9)
    with pytest.raises(ClaimLostError):
        train(again, on_step=stop_at(2))
    with pytest.raises(UserError, match="belongs to a run of other data, recipe, weights or seed"):
        train(dataclasses.replace(again, beta=0.2))


def test_dropout_is_off(job: TrainingJob, undisturbed: Path, tmp_path: Path) -> None:
    """A model with dropout of its own is trained without, as the frozen one reads; what is saved has its rate again."""
    base = tmp_path / "base"
    shutil.copytree(job.model, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.3}))
    train(dataclasses.replace(job, model=str(base), folder=tmp_path / "run"))
    assert log(tmp_path / "run") == log(undisturbed)
    assert json.loads((tmp_path / "run/model/config.json").read_text())["attention_dropout"] == 0.3


def test_a_pair_that_does_not_fit_is_named(job: TrainingJob, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"token_budget=100 is smaller than the longest pair, .*pairs\.json: row \d+ with"
    ):
        train(with_fields(dataclasses.replace(job, folder=tmp_path), token_budget=100))
    with pytest.raises(UserError, match=r"execution\.processes=5 is more than the 4 pairs"):
        train(with_fields(dataclasses.replace(job, folder=tmp_path), processes=5))


ASKED = [{"from": "human", "value": "q"}]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rejected": {"from": "gpt", "value": "  "}}, r"row 2: the answer 'rejected' is empty"),
        ({"chosen": ""}, r"row 2: the answer 'chosen' is empty"),
        (
            {"conversations": [*ASKED, {"from": "gpt", "value": "a"}]},
            r"row 2: field 'conversations' ends with an answer",
        ),
        ({"chosen": [{"from": "gpt", "value": "a"}]}, r"row 2: field 'chosen' is a list.*chosen\[-1\] is the last"),
        ({"chosen": {"from": "gpt", "value": "a", "weight": 0.5}}, r"row 2: a message has a weight"),
        ({"conversations": [{**ASKED[0], "weight": 2}]}, r"row 2: a message has a weight"),
    ],
)
def test_a_row_without_two_answers_to_one_prompt_is_refused(
    preference: PreferenceConfig, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    row = {"conversations": ASKED, "chosen": {"from": "gpt", "value": "yes"}, "rejected": "no"}
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([row, {**row, **changed}]))
    with pytest.raises(UserError, match=told):
        load_pairs(preference, [path])


def test_pairs_of_which_none_is_left_are_told_beforehand(
    preference: PreferenceConfig, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    row = {"conversations": ASKED, "chosen": "yes", "rejected": "no"}
    path, dropping = tmp_path / "pairs.json", dataclasses.replace(preference, unusable="drop")
    path.write_text(json.dumps([{**row, "rejected": "yes"}] * 600))
    with pytest.raises(UserError, match="no pair is left of 600"):
        check_pairs(dropping, [path], TEMPLATE, tiny_tokenizer)
    path.write_text(json.dumps([*[{**row, "rejected": "yes"}] * 600, row]))
    check_pairs(dropping, [path], TEMPLATE, tiny_tokenizer)
    with pytest.raises(UserError, match="row 1: chosen and rejected are equal"):
        check_pairs(preference, [path], TEMPLATE, tiny_tokenizer)
