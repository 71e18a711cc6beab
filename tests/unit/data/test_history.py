"""Alpaca rows with LLaMA-Factory's columns ``system`` and ``history``: read, written, measured, or refused."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from plw.config.preference import PreferenceConfig
from plw.config.training import DatasetConfig, TemplateConfig
from plw.data.encoding import encode
from plw.data.pairs import load_pairs
from plw.data.prepare import apply_inversion
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord, load_records
from plw.data.render import Renderer
from plw.data.statistics import field_lengths
from plw.data.template import Segment, dialogue_text, record_segments, request_text
from plw.errors import UserError
from plw.testing.tokenizers import byte_level_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS = TemplateConfig(name="t", with_input="I: {instruction}\nX: {input}\nR:", without_input="I: {instruction}\nR:")
HISTORY = [["u1", "a1"], ["u2", "a2"]]
ROW = {"instruction": "u3", "input": "x", "output": "a3", "system": "Be brief.", "history": HISTORY}
RECORD = AlpacaRecord(
    instruction="u3", input="x", output="a3", system="Be brief.", history=(("u1", "a1"), ("u2", "a2"))
)


def read(path: Path, *rows: dict[str, Any], columns: dict[str, str] | None = None) -> list[Any]:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return load_records(path, "alpaca", columns)


def test_system_and_history_are_read_from_lists_tables_and_other_columns(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    plain = {name: ROW[name] for name in ("instruction", "input", "output")}
    empty = [{**plain, "system": system, "history": history} for system, history in ((None, None), (" ", []))]
    assert read(tmp_path / "a.json", ROW, plain, *empty) == [RECORD, *[AlpacaRecord(**plain)] * 3]
    parquet.write_table(pyarrow.Table.from_pylist([ROW]), tmp_path / "a.parquet")
    assert load_records(tmp_path / "a.parquet", "alpaca") == [RECORD]
    with (tmp_path / "a.tsv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(ROW), delimiter="\t")
        table.writeheader()
        table.writerows([ROW | {"history": json.dumps(HISTORY)}, ROW | {"system": "", "history": ""}])
    assert load_records(tmp_path / "a.tsv", "alpaca") == [RECORD, AlpacaRecord(**plain)]
    named = {**plain, "persona": "Be brief.", "before": HISTORY}
    assert read(tmp_path / "b.json", named, columns={"system": "persona", "history": "before"}) == [RECORD]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"system": 3}, "row 2: field 'system' is a number; it must be text"),
        (
            {"history": {"u": "a"}},
            "row 2: field 'history' is an object; it must be a list of turns, each a list of two",
        ),
        ({"history": "u1 a1"}, "row 2: field 'history': not valid JSON"),
        ({"history": [["u1", "a1"], "u2"]}, r"row 2: field 'history\[1\]' is text; 'history' must be a list of turns"),
        ({"history": [["u1", "a1", "u2"]]}, r"row 2: field 'history\[0\]' is a list of 3; 'history' must be a list"),
        ({"history": [["u1", None]]}, r"row 2: field 'history\[0\]\[1\]' is null; it must be text"),
        ({"history": [["\ud83d", "a1"]]}, r"row 2: field 'history\[0\]\[0\]' holds half of a surrogate pair"),
        (
            {"System": "a"},
            r"row 2 has no field 'system', but one named 'System'; rename it, or .*\+dataset.columns.sys",
        ),
        ({"history ": []}, "row 2 has no field 'history', but one named 'history '"),
    ],
)
def test_what_is_no_system_or_history_is_one_line(tmp_path: Path, fields: dict[str, Any], told: str) -> None:
    plain = {"instruction": "u3", "output": "a3"}
    with pytest.raises(UserError, match=told):
        read(tmp_path / "a.json", plain, plain | fields)


def test_earlier_turns_are_written_as_a_dialogue_is_asked_and_their_answers_are_learned() -> None:
    assert record_segments(RECORD, TEXTS) == [
        Segment("prompt", "I: Be brief.\n\nu1\nR:"),
        Segment("completion", "a1"),
        Segment("prompt", "\n\nI: u2\nR:"),
        Segment("completion", "a2"),
        Segment("prompt", "\n\nI: u3\nX: x\nR:"),
        Segment("completion", "a3"),
    ]
    turns = AlpacaRecord(instruction="u2", output="a2", history=(("u1", "a1"),))
    first, answer, second, _ = record_segments(turns, TEXTS)
    assert dialogue_text(["u1", "u2"], ["a1"], TEXTS, "alpaca", "</s>") == f"{first.text}{answer.text}</s>{second.text}"
    alone = AlpacaRecord(instruction="u1", output="a1", system="Be brief.", weight=0.5)
    prompt, completion = record_segments(alone, TEXTS)
    assert request_text("u1", "", TEXTS, "alpaca", "Be brief.") == prompt.text
    assert (prompt.weight, completion.weight) == (0.5, 0.5)
    assert [(prompt.text[span.start : span.end], span.role) for span in prompt.spans] == [
        ("Be brief.", "system"),
        ("u1", "user"),
    ]


def test_a_stretch_with_a_weight_stays_on_its_words_behind_a_system_message(tmp_path: Path) -> None:
    spans = [{"field": "instruction", "start": 1, "end": 2, "weight": 3}]
    (record,) = read(tmp_path / "a.json", ROW | {"spans": spans}, columns={"spans": "spans"})
    for written in (record_segments(record, TEXTS)[-2], record_segments(record_without_history(record), TEXTS)[0]):
        weighed = [written.text[span.start : span.end] for span in written.spans if span.weight == 3]
        assert weighed == ["3"]


def record_without_history(record: AlpacaRecord) -> AlpacaRecord:
    return AlpacaRecord(instruction=record.instruction, output=record.output, system=record.system, spans=record.spans)


def test_in_a_chat_template_they_are_the_messages_of_the_same_chat() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    )
    form = TemplateConfig(
        name="chat", with_input="{instruction}\n\n{input}", without_input="{instruction}", kind="chat",
        end_of_sequence=False,
    )  # fmt: skip
    said = [("system", "Be brief."), ("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2")]
    said += [("user", "u3\n\nx"), ("assistant", "a3")]
    chat = ChatRecord(messages=tuple(ChatMessage(role=role, content=content) for role, content in said))
    renderer = Renderer(form, tokenizer)
    assert renderer.segments(RECORD) == renderer.segments(chat)


def test_all_that_is_said_counts_as_in_a_chat(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    lengths = field_lengths([RECORD], tiny_tokenizer)
    same = field_lengths([AlpacaRecord(instruction="Be brief. u1 u2 u3", input="x", output="a1 a2 a3")], tiny_tokenizer)
    for field in ("instruction_E", "input_E", "completion_E"):
        assert getattr(lengths, field).tolist() == getattr(same, field).tolist()
    encoded = encode([record_segments(RECORD, TEXTS)], tiny_tokenizer, max_length=10_000, fine_roles=True).examples[0]
    assert len(encoded.token_T) > int(lengths.completion_E[0])


@pytest.mark.parametrize(("field", "record"), [("history", RECORD), ("system", record_without_history(RECORD))])
def test_they_do_not_go_with_an_inversion(
    tiny_tokenizer: "PreTrainedTokenizerBase", field: str, record: AlpacaRecord
) -> None:
    dataset = DatasetConfig(name="d", path="d.json", inversion="short")
    with pytest.raises(UserError, match=f"field '{field}' does not go with dataset.inversion=short"):
        apply_inversion([record], dataset, tiny_tokenizer, 1)


def test_pairs_have_them_too(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    row = {**{name: ROW[name] for name in ROW if name != "output"}, "chosen": "a3", "rejected": "b"}
    path.write_text(json.dumps([row]), encoding="utf-8")
    ((chosen, rejected),) = load_pairs(PreferenceConfig(name="p", path=str(path), method="dpo"), [path])
    assert chosen == RECORD
    assert isinstance(rejected, AlpacaRecord)
    assert (rejected.output, rejected.history) == ("b", RECORD.history)
