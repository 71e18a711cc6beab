"""A cell on chats from the hub: planned without the files, trained on every turn; other content is noticed."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from transformers import AutoTokenizer

from plw.config import CellConfig
from plw.config.compose import register_schema, typed
from plw.config.training import TemplateConfig
from plw.data.encoding import COMPLETION
from plw.errors import UserError
from plw.paths import conf_folder
from plw.pipeline import check_inputs, resolve_cell
from plw.pipeline.context import CellContext
from plw.pipeline.judge_cache import JudgeCache
from plw.pipeline.run import run_cell
from tests.unit.pipeline.conftest import OwnStudy, run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REVISION = "0123456789abcdef0123456789abcdef01234567"
TALKS = [
    [
        ("system", "Be kind."),
        ("user", f"Say {n}."),
        ("assistant", f"It is {n}."),
        ("user", "Why?"),
        ("assistant", "So."),
    ]
    for n in range(24)
]


@pytest.fixture
def config(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CellConfig]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    register_schema()
    overrides = [
        "study=own", "scale=own", "model=folder", "model.name=m", f"model.path={tiny_llama}", "dataset=hub",
        "dataset.name=talks", "dataset.path=hub:owner/talks", f"dataset.revision={REVISION}",
        "dataset.file=data/train-*.parquet", "dataset.format=chat", "+dataset.columns.messages=talk",
        "recipe.epochs=2", "recipe.learning_rate=5e-3", "loss.prompt_weight=0", "suite=piqa", "tracker=none",
        "suite.diagnostics.memorisation_samples=2", "suite.diagnostics.memorisation_max_new_tokens=4",
        "suite.diagnostics.loss_window=2", f"execution.runs={tmp_path}/runs", f"execution.cache={tmp_path}/cache",
        f"registry.url=sqlite:///{tmp_path}/registry.sqlite",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield typed(compose("config", overrides=[*overrides, "stages=[train,diagnose]"]))
    GlobalHydra.instance().clear()


def write_table(place: Path, talks: list[list[tuple[str, str]]]) -> bytes:
    """The talks as one parquet table; its bytes."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    rows = [{"talk": [{"role": role, "content": content} for role, content in talk]} for talk in talks]
    (place / "data").mkdir(parents=True, exist_ok=True)
    path = place / "data/train-00000-of-00001.parquet"
    Dataset.from_list(rows).to_parquet(path)
    return path.read_bytes()


def quiet(*_: object) -> None:
    """Nobody listens."""


def test_from_plan_to_diagnosis(config: CellConfig, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    cell = resolve_cell(config)
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        check_inputs([cell])
    place = Path(str(caught.value).rpartition(" to ")[2])
    content = write_table(place, TALKS)
    check_inputs([cell])
    assert resolve_cell(config).fingerprint == cell.fingerprint

    # Every answer is learned, and nothing else.
    with JudgeCache() as judges, CellContext(cell, quiet, judges) as context:
        example = context.data.encoded[3]
        learned = tiny_tokenizer.decode(example.token_T[example.role_T == COMPLETION])
        assert learned == "It is 3.</s>So.</s>"
        assert np.count_nonzero(np.diff(example.role_T.astype(int))) == 3

    with JudgeCache() as judges:
        outcome = run_cell(resolve_cell(config), quiet, judges)
    assert {kind: stage.status for kind, stage in outcome.stages.items()} == {"train": "done", "diagnose": "done"}
    record = json.loads((cell.folder / "train/record.json").read_text())
    assert record["data"]["content"] == hashlib.sha256(content).hexdigest()
    assert record["curves"][-1]["completion_loss"] < record["curves"][0]["completion_loss"]

    # Another table at the same place is noticed by the stage that reads it next.
    write_table(place, TALKS[:20])
    shutil.rmtree(cell.stages["diagnose"].folder)
    with JudgeCache() as judges:
        again = run_cell(resolve_cell(config), quiet, judges).stages["diagnose"]
    assert again.status == "failed"
    assert "was trained on" in str(again.error)


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("chat", {}, r"template=chat: .* has no chat template"),
        (
            "alpaca",
            {"tools": [{"name": "f"}]},
            r"talks.json: row 2: it has tools, which template=alpaca does not write",
        ),
    ],
)
def test_what_a_template_does_not_write_is_told_before_the_first_cell(
    config: CellConfig, tmp_path: Path, template: str, row: dict[str, object], expected: str
) -> None:
    talk = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    path = tmp_path / "talks.json"
    path.write_text(json.dumps([talk, {**talk, **row}]), encoding="utf-8")
    dataset = dataclasses.replace(
        config.dataset, path=str(path), revision=None, file=None, columns={"messages": "messages"}
    )
    text = yaml.safe_load((conf_folder() / f"template/{template}.yaml").read_text(encoding="utf-8"))
    config = dataclasses.replace(config, dataset=dataset, template=TemplateConfig(**text))
    with pytest.raises(UserError, match=expected):
        check_inputs([resolve_cell(config)])


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            "{% if m.role != 'system' %}{{ m.content }}{{ eos_token }}{% endif %}",
            r"row 2: .* leaves out the system message",
        ),
        (
            "{% if m.role == 'system' %}{{ raise_exception('None') }}{% endif %}{{ m.content }}{{ eos_token }}",
            "refuses",
        ),
        ("{{ m.content }}{{ eos_token }}", None),
    ],
)
def test_a_system_message_that_a_template_does_not_take_is_told_before_the_first_cell(
    own_study: OwnStudy, tmp_path: Path, template: str, words: str | None
) -> None:
    for file in (tmp_path / "model").glob("chat_template*"):
        file.unlink()
    (tmp_path / "model/chat_template.jinja").write_text("{% for m in messages %}" + template + "{% endfor %}")
    rows = [{"instruction": "Say a.", "output": "a"}, {"instruction": "Say b.", "system": "Be brief.", "output": "b"}]
    (tmp_path / "prompts.json").write_text(json.dumps(rows))
    for stages in ("[train,generate]", "[generate]"):
        cell = resolve_cell(own_study("template=chat", f"stages={stages}"))
        if words is None:
            check_inputs([cell])
        else:
            with pytest.raises(UserError, match=words):
                check_inputs([cell])


def test_a_trained_model_stops_at_the_end_of_its_chat_template(own_study: OwnStudy, tmp_path: Path) -> None:
    """That a base model has as a token, and no end of its own: its EOS is that of a text.

    As GLM's the end is the next speaker's, which the template does not write; as gpt-oss's a header is no answer.
    """
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_tokens(["<|user|>", "<|assistant|>", "<|message|>"], special_tokens=True)
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}final<|message|>{% endif %}"
        "{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "model")
    end, eos = tokenizer.convert_tokens_to_ids("<|user|>"), tokenizer.eos_token_id
    overrides = ["template=chat", "recipe.learning_rate=0.01", "recipe.epochs=8", "recipe.batch_size=4"]
    config = own_study(*overrides, "suite.decoding.max_new_tokens=32")
    outcome = run(config)
    assert {stage.status for stage in outcome.stages.values()} == {"done"}, outcome
    folder = resolve_cell(config).folder
    written = json.loads((folder / "train/model/generation_config.json").read_text())["eos_token_id"]
    assert {end, eos} == set(written)
    answers = json.loads((folder / "generate-own/alpaca_eval.json").read_text())
    assert all(answer["finished"] and answer["tokens"] < 32 for answer in answers), answers
    assert not any(answer["output"].startswith("final") for answer in answers), answers
