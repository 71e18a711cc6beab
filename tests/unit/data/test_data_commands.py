"""`plw stats` and `plw data invert` as a person calls them: the paper's numbers on real data, one line a mistake."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from datasets import Dataset
from hydra.core.global_hydra import GlobalHydra
from typer.testing import CliRunner

from plw.cli import app
from plw.data.inversion import invert_record, short
from plw.data.records import load_records
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS = [{"instruction": f"Count to {n}.", "input": "", "output": " ".join(map(str, range(n)))} for n in range(1, 30)]


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # A name that means something to Hydra.
    (tmp_path / "my data=[1].json").write_text(json.dumps(ROWS))
    return tmp_path / "my data=[1].json"


def call(*arguments: Any) -> str:
    """What the command prints; its complaint is raised as it is."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_row_of_table_1_on_real_data(shared_data: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    out, picture = tmp_path / "s.json", tmp_path / "l.png"
    printed = call(
        "stats", shared_data / "alpaca/alpaca_cleaned_999.json", "--tokenizer", shared_data / "llama_tokenizer.model",
        "--json", out, "--picture", picture,
    )  # fmt: skip
    for words in ("13.56 (5.60)", "6.92 (15.08)", "168.96 (156.61)", "189,256", " 8.25 ", "53 (5.3%)", "0 (0.0%)"):
        assert words in printed
    found = json.loads(out.read_text())
    assert found["generation_ratio"] == pytest.approx(8.25005, abs=1e-5)
    assert (found["records"], found["total_tokens"], found["truncated"], found["max_length"]) == (999, 189256, 53, 512)
    assert found["quantiles"]["completion"]["1"] == 662
    image = imread(picture)
    assert image.shape[1] > 1000
    assert image.std() > 0.05


def test_what_is_lost_is_what_training_loses(
    shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """The inverted file, where prompts are long: the counts are those of the encoding that training uses."""
    import yaml

    from plw.config import DatasetConfig, TemplateConfig
    from plw.data.prepare import prepare
    from plw.paths import conf_folder

    real = shared_data / "alpaca/alpaca_cleaned_999.json"
    call(
        "stats", real, "dataset.inversion=short", "--tokenizer", shared_data / "llama_tokenizer.model",
        "--json", tmp_path / "s.json", "--max-length", 256,
    )  # fmt: skip
    found = json.loads((tmp_path / "s.json").read_text())
    template = TemplateConfig(**yaml.safe_load((conf_folder() / "template/alpaca.yaml").read_text()))
    dataset = DatasetConfig(name="d", path=str(real), inversion="short")
    data = prepare(dataset, real, template, llama_tokenizer, max_length=256, seed=42)
    assert (found["truncated"], found["without_completion"]) == (data.truncated, data.without_completion)
    assert found["without_completion"] > 200
    assert found["generation_ratio"] == data.statistics.generation_ratio
    assert found["content"] == data.content


def test_inverted_records_keep_their_weights(tmp_path: Path, tiny_llama: Path) -> None:
    data, out = tmp_path / "weighed.json", tmp_path / "out.jsonl"
    data.write_text(json.dumps([{**row, "w": n % 3} for n, row in enumerate(ROWS)]))
    call("data", "invert", data, "--short", "--tokenizer", tiny_llama, "--out", out, "+dataset.columns.weight=w")
    read = load_records(out, "alpaca", {"weight": "weight"})
    assert [record.weight for record in read] == [n % 3 for n in range(len(ROWS))]


def test_a_second_place_of_the_data_is_refused(path: Path, tiny_llama: Path) -> None:
    with pytest.raises(UserError, match=r"dataset.path=b.json: the data are .*json, as the command says"):
        call("stats", path, "--tokenizer", tiny_llama, "dataset.path=b.json")


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_invert_short_writes_what_training_would_read(
    path: Path, tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"short.{suffix}"
    printed = call("data", "invert", path, "--short", "--tokenizer", tiny_llama, "--out", out)
    assert load_records(out, "alpaca") == short(load_records(path, "alpaca"), tiny_tokenizer)
    assert f"{path}: 29 records, R_g " in printed
    assert f"{out}: 29 records, R_g 0." in printed


def test_a_target_ratio_is_met_in_the_file_that_is_written(shared_data: Path, tmp_path: Path) -> None:
    ratio = 0.042
    tokens, real = shared_data / "llama_tokenizer.model", shared_data / "alpaca/alpaca_cleaned_999.json"
    call("data", "invert", real, "--target-ratio", ratio, "--tokenizer", tokens, "--out", tmp_path / "o.json")
    call("stats", tmp_path / "o.json", "--tokenizer", tokens, "--json", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["generation_ratio"] == pytest.approx(ratio, rel=0.02)
    originals = load_records(real, "alpaca")
    assert set(load_records(tmp_path / "o.json", "alpaca")) <= {*originals, *map(invert_record, originals)}


def test_mistakes_are_one_line(path: Path, tiny_llama: Path, tmp_path: Path) -> None:
    chat = tmp_path / "chat.json"
    chat.write_text(
        json.dumps([{"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}])
    )
    saved = tmp_path / "saved"
    Dataset.from_list([{"instruction": "a", "output": "b"}]).save_to_disk(saved)
    tokens, out = ("--tokenizer", tiny_llama), ("--out", tmp_path / "o.json")
    for arguments, words in (
        (("stats", "nosuch", *tokens), "nosuch: no such file, and no dataset's config; allowed there: alpaca-cleaned"),
        (
            ("stats", tmp_path, *tokens),
            "is a folder; give a file (there: chat.json, my data=[1].json), of several parts one",
        ),
        (("stats", tiny_llama, *tokens), "is a model's folder; give a file of data"),
        (("stats", saved, *tokens), "is a folder of datasets' save_to_disk; write the data by to_parquet or to_json"),
        (("stats", "/dev/null", *tokens), "is a pipe or a device; give a file"),
        (("stats", path, *tokens, "--picture", "x.gif"), "--picture x.gif: allowed are names that end in .png or .pdf"),
        (("stats", path, *tokens, "--template", "nosuch"), "template/nosuch"),
        (("stats", path, *tokens, "dataset.sample=99"), "dataset.sample=99 is more than the dataset's 29 records"),
        (("stats", chat, *tokens), "row 1 has no field 'instruction' (fields found: messages); chats are read with"),
        (("stats", "world-data", *tokens, f"execution.cache={tmp_path}"), "the embedded world is not built"),
        (("data", "invert", path, *tokens, *out), "needs one of --short and --target-ratio"),
        (("data", "invert", path, *tokens, *out, "--short", "--target-ratio", 1), "needs one of"),
        (("data", "invert", path, *tokens, *out, "--target-ratio", 9999), "cannot be met with these 29 records"),
        (("data", "invert", path, *tokens, "--out", path, "--short"), "is the file that is read"),
        (("data", "invert", path, *tokens, "--out", "x.csv", "--short"), "allowed are names that end in .json"),
        (("data", "invert", "alpaca-short", *tokens, *out, "--short"), "is inverted already"),
        (("data", "invert", chat, *tokens, *out, "--short", "dataset.format=chat"), "needs dataset.format=alpaca"),
    ):
        with pytest.raises(UserError) as caught:
            call(*arguments)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.json").exists()


def test_a_chat_has_its_row_too(tiny_llama: Path, tmp_path: Path) -> None:
    turns = [("user", "a b"), ("assistant", "c d e"), ("user", "f"), ("assistant", "g")]
    row = {"talk": [{"role": role, "content": content} for role, content in turns]}
    (tmp_path / "chat.jsonl").write_text(json.dumps(row))
    call(
        "stats", tmp_path / "chat.jsonl", "dataset.format=chat", "+dataset.columns.messages=talk",
        "--tokenizer", tiny_llama, "--json", tmp_path / "s.json", "--max-length", 8,
    )  # fmt: skip
    found = json.loads((tmp_path / "s.json").read_text())
    assert (found["records"], found["input_mean"]) == (1, 0)
    assert found["truncated"] == 1
