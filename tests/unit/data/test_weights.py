"""Roles within a prompt, and weights that stand in the data, reach the tokens that they are of."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plw.config.loss import ROLES
from plw.config.training import DatasetConfig, TemplateConfig
from plw.data.encoding import EncodedExample, encode
from plw.data.prepare import prepare
from plw.data.records import load_records
from plw.data.template import record_segments
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = TemplateConfig(
    name="t", with_input="Below: {instruction}\nX: {input}\nR:", without_input="Below: {instruction}\nR:",
)  # fmt: skip


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def encoded(path: Path, form: str, tokenizer: Any, columns: dict[str, str] | None = None) -> EncodedExample:
    segments = [record_segments(record, TEMPLATE) for record in load_records(path, form, columns)]
    (example,) = encode(segments, tokenizer, max_length=512, fine_roles=True).examples
    return example


def words(example: EncodedExample, tokenizer: Any, role: str) -> str:
    return str(tokenizer.decode(example.token_T[example.role_T == ROLES.index(role)]))


def test_the_roles_of_an_alpaca_record(tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    path = write(tmp_path / "a.json", [{"instruction": "Say {input}", "input": "é中", "output": "It is 42."}])
    example = encoded(path, "alpaca", tiny_tokenizer)
    assert words(example, tiny_tokenizer, "bos") == "<s>"
    # A token across a border has the role of its last letter: the space before a word goes with it.
    assert words(example, tiny_tokenizer, "user").replace(" ", "") == "Say{input}é中"
    assert words(example, tiny_tokenizer, "template").replace(" ", "") == "Below:\nX:\nR:"
    assert words(example, tiny_tokenizer, "assistant") == "It is 42.</s>"


def test_the_roles_of_a_chat(tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    turns = [("system", "Be brief."), ("human", "Go"), ("gpt", "Gone"), ("tool", "12"), ("gpt", "done"), ("human", "x")]
    path = write(tmp_path / "a.json", [{"conversations": [{"from": who, "value": what} for who, what in turns]}])
    example = encoded(path, "sharegpt", tiny_tokenizer)
    assert words(example, tiny_tokenizer, "system") == "Be brief."
    assert words(example, tiny_tokenizer, "user") == "Go"
    assert words(example, tiny_tokenizer, "tool") == "12"
    assert words(example, tiny_tokenizer, "assistant") == "Gone</s>done</s>"
    assert "<|assistant|>" in words(example, tiny_tokenizer, "template")


def test_what_is_prompt_and_what_completion_does_not_depend_on_finer_roles(
    tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """Also where a token would join the two."""
    rows = [{"instruction": a, "output": b} for a, b in [("go", " th"), ("", ""), ("th", "e"), ("é", "中")]]
    template = TemplateConfig(name="t", with_input="{instruction}{input} th", without_input="{instruction} th")
    segments = [
        record_segments(record, template) for record in load_records(write(tmp_path / "a.json", rows), "alpaca")
    ]
    coarse, fine = (
        encode(segments, tiny_tokenizer, max_length=512, fine_roles=fine).examples for fine in (False, True)
    )
    for one, other in zip(coarse, fine, strict=True):
        assert one.token_T.tolist() == other.token_T.tolist()
        assert (one.role_T == ROLES.index("assistant")).tolist() == (other.role_T == ROLES.index("assistant")).tolist()


def test_weights_of_record_message_and_span(tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    def weights(example: EncodedExample, text: str) -> set[float]:
        """Of the tokens whose letters all stand in the text, which stands there once."""
        pieces = tiny_tokenizer.convert_ids_to_tokens(example.token_T.tolist())
        whole, ends = tiny_tokenizer.convert_tokens_to_string(pieces), np.cumsum([len(p) for p in pieces])
        start = whole.index(text)
        assert example.weight_T is not None
        return {
            float(weight)
            for weight, end, piece in zip(example.weight_T, ends, pieces, strict=True)
            if start <= end - len(piece) and end <= start + len(text)
        }

    row = {"instruction": "aaa", "output": "bbb ccc", "quality": 0.5, "marks": [{"start": 4, "end": 7, "weight": 3}]}
    example = encoded(
        write(tmp_path / "a.json", [row]), "alpaca", tiny_tokenizer, {"weight": "quality", "spans": "marks"}
    )
    assert (weights(example, "aaa"), weights(example, "bbb"), weights(example, "ccc")) == ({0.5}, {0.5}, {1.5})
    assert example.weight_T is not None
    assert example.weight_T[-1] == 0.5, "EOS"
    messages = [
        {"role": "user", "content": "aaa", "weight": 2},
        {"role": "assistant", "content": "bbb", "train": False},
        {"role": "user", "content": "ccc"},
        {"role": "assistant", "content": "ddd", "loss_weight": 0.25},
    ]
    example = encoded(write(tmp_path / "b.json", [{"messages": messages}]), "chat", tiny_tokenizer)
    found = [weights(example, text) for text in ("aaa", "bbb", "ccc", "ddd")]
    assert found == [{2.0}, {0.0}, {1.0}, {0.25}]
    assert example.weight_T is not None
    assert example.weight_T[-1] == 0.25, "the EOS of an answer goes with it"


def test_finer_roles_with_nothing_held_out(tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    path = write(tmp_path / "a.json", [{"instruction": "a", "output": "b"}])
    dataset = DatasetConfig(name="d", path=str(path))
    data = prepare(dataset, path, TEMPLATE, tiny_tokenizer, max_length=64, seed=0, fine_roles=True)
    assert ROLES.index("template") in data.encoded[0].role_T
    assert data.held_out == []


def test_data_without_weights_have_none(tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    path = write(tmp_path / "a.json", [{"instruction": "a", "output": "b", "weight": 7}])
    assert encoded(path, "alpaca", tiny_tokenizer).weight_T is None, "a column that nobody named"


@pytest.mark.parametrize(
    ("form", "row", "columns", "named"),
    [
        ("alpaca", {"weight": "0,5"}, {"weight": "weight"}, "row 1: field 'weight' is '0,5'"),
        ("alpaca", {"weight": float("nan")}, {"weight": "weight"}, "row 1 is not valid JSON (NaN"),
        ("alpaca", {"weight": True}, {"weight": "weight"}, "finite number"),
        ("alpaca", {"weight": 10**400}, {"weight": "weight"}, "it must be a finite number"),
        ("alpaca", {}, {"weight": "quality"}, "has no field 'quality'"),
        ("alpaca", {"s": [{"start": 0, "end": 9, "weight": 1}]}, {"spans": "s"}, "s[0]: start=0 and end=9"),
        ("alpaca", {"s": [{"start": 0, "end": 1}]}, {"spans": "s"}, "s[0]: field 'weight'"),
        ("alpaca", {"s": [{"start": "0", "end": 1, "weight": 1}]}, {"spans": "s"}, "s[0]: start='0' and end=1 "),
        ("alpaca", {"s": [{"start": 0, "end": 1.0, "weight": 1}]}, {"spans": "s"}, "s[0]: start=0 and end=1.0"),
        ("alpaca", {"s": {"start": 0, "end": 1, "weight": 1}}, {"spans": "s"}, "it must be a list of start, end"),
        ("alpaca", {"s": ["a"]}, {"spans": "s"}, "s[0] is text, not an object"),
        ("alpaca", {"s": [{"start": 0, "end": 1, "weight": 1, "field": "x"}]}, {"spans": "s"}, "allowed: instruction"),
        ("alpaca", {"s": [{"start": 0, "end": 1, "weight": 1, "field": []}]}, {"spans": "s"}, "is '[]'; allowed: inst"),
        ("chat", {"messages": [{"role": "assistant", "content": "a", "weight": []}]}, {}, "row 1, message 1: field"),
        ("chat", {"messages": [{"role": "assistant", "content": "a", "train": 1}]}, {}, "allowed: true, false"),
        ("chat", {"messages": [{"role": "assistant", "content": "a", "weight": 0}]}, {}, "have weight 0"),
        ("chat", {"messages": [{"role": "assistant", "content": "", "weight": 1, "train": True}]}, {}, "and train"),
        ("sharegpt", {"conversations": [{"from": "robot", "value": "a"}]}, {}, "'from' is 'robot'; allowed: system"),
        ("chat", {"conversations": []}, {}, "dataset.format=sharegpt"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_row_and_field(
    tmp_path: Path, form: str, row: dict[str, Any], columns: dict[str, str], named: str
) -> None:
    path = write(tmp_path / "a.json", [{"instruction": "i", "output": "out", **row}])
    with pytest.raises(UserError) as caught:
        load_records(path, form, columns)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert named in message
    assert "\n" not in message


def test_an_inverted_record_keeps_its_weight_but_not_spans(
    tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    row = {"instruction": "a", "output": "b b b", "w": 0.5, "s": [{"start": 0, "end": 1, "weight": 2}]}
    path = write(tmp_path / "a.json", [row])

    def prepared(**columns: str) -> EncodedExample:
        dataset = DatasetConfig(name="d", path=str(path), inversion="short", columns=columns)
        return prepare(dataset, path, TEMPLATE, tiny_tokenizer, max_length=64, seed=0).encoded[0]

    weight_T = prepared(weight="w").weight_T
    assert weight_T is not None
    assert set(weight_T.tolist()) == {0.5}
    with pytest.raises(UserError, match=r"a\.json: row 1: spans"):
        prepared(spans="s")
