"""Preparing a dataset: limit, inversion, encoding and statistics speak of the same records."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plw.config.training import DatasetConfig, TemplateConfig
from plw.data.inversion import invert_record
from plw.data.prepare import prepare
from plw.data.records import AlpacaRecord, load_records
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = TemplateConfig(name="t", with_input="{instruction}\n{input}\n", without_input="{instruction}\n")
ROWS = [{"instruction": f"Count to {n}.", "input": "", "output": " ".join(map(str, range(n)))} for n in range(5, 40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return tmp_path / "data.json"


def config(path: Path, **fields: object) -> DatasetConfig:
    return DatasetConfig(name="d", path=str(path), **fields)  # type: ignore[arg-type]


def test_limit_and_counts(path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    data = prepare(config(path, limit=10), path, TEMPLATE, tiny_tokenizer, max_length=24, seed=0)
    assert len(data.records) == len(data.encoded) == data.statistics.records == 10
    whole = prepare(config(path, limit=10), path, TEMPLATE, tiny_tokenizer, max_length=256, seed=0)
    assert data.truncated == sum(len(example.token_T) > 24 for example in whole.encoded)
    assert 0 < data.truncated < 10
    assert data.without_completion == 0


def test_short_is_the_inverted_file(path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    data = prepare(config(path, inversion="short"), path, TEMPLATE, tiny_tokenizer, max_length=256, seed=0)
    plain = prepare(config(path), path, TEMPLATE, tiny_tokenizer, max_length=256, seed=0)
    assert set(data.records) <= {r for record in load_records(path, "alpaca") for r in (record, invert_record(record))}
    assert data.statistics.generation_ratio is not None
    assert plain.statistics.generation_ratio is not None
    assert data.statistics.generation_ratio < 1 < plain.statistics.generation_ratio


def test_a_ratio_is_met_and_seeded(path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    dataset = config(path, inversion="ratio", target_ratio=1.0)
    data = [prepare(dataset, path, TEMPLATE, tiny_tokenizer, max_length=256, seed=seed) for seed in (0, 0, 1)]
    assert data[0].statistics.generation_ratio == pytest.approx(1, rel=0.02)
    assert data[0].records == data[1].records != data[2].records


def test_an_inverted_chat_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs dataset.format=alpaca"):
        DatasetConfig(name="d", path="x", format="chat", inversion="short")


def test_records_set_aside_are_the_same_for_every_seed_and_in_no_other_field(
    path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    made = [
        prepare(config(path, held_out=held_out), path, TEMPLATE, tiny_tokenizer, max_length=256, seed=seed)
        for held_out, seed in ((0, 0), (3, 0), (3, 1))
    ]
    whole, some, again = ([example.token_T.tobytes() for example in data.encoded] for data in made)
    aside = [example.token_T.tobytes() for example in made[1].held_out]
    assert (len(aside), made[0].held_out) == (3, [])
    assert sorted(some + aside) == sorted(whole)
    assert some == again == [row for row in whole if row not in aside]
    assert len(made[1].records) == len(some)
    with pytest.raises(UserError, match=r"dataset.held_out=\d+ leaves nothing of the dataset's \d+ records"):
        prepare(config(path, held_out=len(whole)), path, TEMPLATE, tiny_tokenizer, max_length=256, seed=0)


@pytest.mark.parametrize("fields", [{}, {"inversion": "short"}, {"inversion": "ratio", "target_ratio": 1.0}])
def test_records_and_examples_keep_their_row_in_the_file(
    fields: dict[str, object], tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Over two files, sampled, limited, inverted, with some held out: the row of a message is the row in its file."""
    files = [tmp_path / "part-0.jsonl", tmp_path / "part-1.jsonl"]
    words = {}
    for number, file in enumerate(files):
        rows = ROWS[number::2]
        file.write_text("\n\n".join(map(json.dumps, rows)))
        words |= {f"{file}: row {n}": set(row.values()) for n, row in enumerate(rows, start=1)}
    dataset = config(tmp_path, sample=24, limit=20, held_out=4, **fields)
    data = prepare(dataset, files, TEMPLATE, tiny_tokenizer, max_length=256, seed=3)
    assert len(data.held_out) == 4
    for record, example in zip(data.records, data.encoded, strict=True):
        assert isinstance(record, AlpacaRecord)
        assert record.instruction in words[record.where] or record.output in words[record.where]
        assert example.where == record.where
    places = [example.where for example in (*data.encoded, *data.held_out)]
    assert len(set(places)) == len(places)
    assert set(places) <= set(words)


def test_a_training_that_cannot_be_names_the_row_in_the_file(
    tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    from plw.config.loss import LossConfig
    from plw.config.training import RecipeConfig
    from plw.train.batching.plan import plan_training

    rows = [{"instruction": "Go.", "output": "Gone."}] * 30
    rows[17] = {"instruction": "Go. " * 60, "output": "Gone."}
    path = tmp_path / "data.json"
    path.write_text(json.dumps(rows))
    for sample in range(20, 30):
        data = prepare(config(path, sample=sample), path, TEMPLATE, tiny_tokenizer, max_length=512, seed=0)
        if any(example.where == f"{path}: row 18" for example in data.encoded):
            break
    assert len(data.encoded) < 30
    with pytest.raises(UserError) as caught:
        plan_training(data.encoded, LossConfig(), RecipeConfig(name="r", batch_size=4), seed=0, token_budget=64)
    assert f"{path}: row 18 with" in str(caught.value)
    # The prompt fills 60 tokens, so its step has no token with weight.
    cut = prepare(config(path, sample=sample), path, TEMPLATE, tiny_tokenizer, max_length=60, seed=0)
    recipe = RecipeConfig(name="r", batch_size=1)
    with pytest.raises(UserError) as caught:
        plan_training(cut.encoded, LossConfig(prompt_weight=0), recipe, seed=0, token_budget=64)
    assert f"{path}: row 18" in str(caught.value)
