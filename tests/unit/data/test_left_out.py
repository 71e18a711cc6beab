"""What a row or a message holds is read, or refused with its name: nothing is left out of training without a word."""

import json
from pathlib import Path
from typing import Any

import pytest

from plw.config.preference import PreferenceConfig
from plw.data.pairs import load_pairs
from plw.data.prompts import load_prompts
from plw.data.records import ChatRecord, load_records
from plw.errors import UserError

SAID = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answered(**more: Any) -> dict[str, Any]:
    return {"messages": [*SAID, SAID[0], {**SAID[1], **more}]}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (answered(reasoning="Hm."), "message 4 has reasoning, which is not read; name it reasoning_content"),
        (answered(content="", refusal="No."), "message 4 has refusal, which is not read; write its words"),
        (answered(training_detail=[{"begin_offset": 0}]), "message 4 has training_detail, which is not read"),
        (answered(audio={"id": "x"}), "message 4 has audio, which a model of text alone does not get"),
        (answered(Weight=0), "message 4 has no field 'weight', but one named 'Weight'; rename it"),
        (answered(tool_calls=["f"]), r"message 4: field 'tool_calls\[0\]' is text; it must be an object"),
        (answered(tool_calls="[]", content=None), "message 4: field 'content' is null; it must be text"),
        (answered(tool_calls="f()"), "message 4: field 'tool_calls': not valid JSON"),
        (answered(reasoning_content=5), "message 4: field 'reasoning_content' is a number; it must be text"),
        (
            {"messages": SAID, "functions": [{"name": "f"}]},
            "row 2 has functions, which is not read; write them as tools",
        ),
        ({"messages": SAID, "images": ["a.png"]}, "row 2 has images, which a model of text alone does not get"),
        ({"messages": SAID, "System": "s"}, "row 2 has no field 'system', but one named 'System'; rename it"),
        ({"messages": SAID, "TOOLS": []}, "row 2 has no field 'tools', but one named 'TOOLS'; rename it"),
    ],
)
def test_a_chat_with_what_is_not_read(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_records(write(tmp_path / "a.jsonl", {"messages": SAID}, row), "chat")


def test_what_is_empty_holds_nothing(tmp_path: Path) -> None:
    """A parquet table gives every message each field that any has."""
    row = answered(reasoning=None, refusal="", function_call=None, tool_calls=[], train=None, audio=None)
    path = write(tmp_path / "a.jsonl", {**row, "images": [], "functions": None, "system": None})
    assert load_records(path, "chat") == load_records(write(tmp_path / "b.jsonl", answered()), "chat")


@pytest.mark.parametrize("switch", ["train", "training", "loss"])
@pytest.mark.parametrize("weight", ["weight", "loss_weight", "loss_scale"])
def test_other_trainers_names_of_a_message_that_is_not_learned(tmp_path: Path, switch: str, weight: str) -> None:
    path = write(tmp_path / "a.jsonl", *({"messages": [*SAID, SAID[0], {**SAID[1], **more}, *SAID]} for more in (
        {switch: False}, {switch: True}, {weight: 0}, {weight: 0.5},
    )))  # fmt: skip
    records = load_records(path, "chat")
    assert [record.messages[3].weight for record in records if isinstance(record, ChatRecord)] == [0, 1, 0, 0.5]
    with pytest.raises(UserError, match=f"message 4 has {weight} and {switch}; one of them says what it counts"):
        load_records(write(path, answered(**{switch: True, weight: 1})), "chat")
    with pytest.raises(UserError, match=f"message 4: field '{switch}' is '0'; allowed: true, false"):
        load_records(write(path, answered(**{switch: 0})), "chat")


@pytest.mark.parametrize(
    ("form", "row", "remedy"),
    [
        ("sharegpt", {"conversations": SAID}, r"dataset.format=chat \+dataset.columns.messages=conversations"),
        (
            "chat",
            {"messages": [{"from": "human", "value": "q"}]},
            r"dataset.format=sharegpt \+dataset.columns.conversations=messages",
        ),
    ],
)
def test_messages_of_the_other_form_say_how_they_are_read(
    tmp_path: Path, form: str, row: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(UserError, match=f"message 1 has no field .*; such messages are read with {remedy}"):
        load_records(write(tmp_path / "a.jsonl", row), form)


@pytest.mark.parametrize("name", ["in\u200bput", "\ufeffinput", "\uff49nput", "Input\u00a0"])
def test_an_input_whose_name_only_looks_the_same(tmp_path: Path, name: str) -> None:
    """Of a table whose beginning has two byte order marks, or a name copied from a web page."""
    path = write(tmp_path / "a.jsonl", {"instruction": "i", name: "important", "output": "o"})
    for read in (load_prompts, lambda path: load_records(path, "alpaca")):
        with pytest.raises(UserError) as caught:
            read(path)
        assert f"row 1 has no field 'input', but one named {name!a}; rename it" in str(caught.value)


@pytest.mark.parametrize("name", ["instruction ", "Instruction", "\ufeffinstruction"])
def test_a_field_that_is_needed_and_only_looks_the_same(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.jsonl", {name: "i", "output": "o"})
    with pytest.raises(UserError) as caught:
        load_records(path, "alpaca")
    assert f", but one named {name!a}; rename it, or give +dataset.columns.instruction=NAME" in str(caught.value)


@pytest.mark.parametrize("name", ["context", "system_prompt", "system_message"])
def test_a_text_of_the_prompt_under_another_name_is_not_left_out_silently(tmp_path: Path, name: str) -> None:
    """As in Dolly's and OpenOrca's rows; what is empty is none, and a column is read where it is named."""
    field = "input" if name == "context" else "system"
    row = {"instruction": "i", "output": "o", name: "important"}
    path = write(tmp_path / "a.jsonl", row)
    for read in (load_prompts, lambda path: load_records(path, "alpaca")):
        with pytest.raises(UserError, match=rf"row 1 has {name}, but no {field}; .*{field}.*, or remove it"):
            read(path)
    (record,) = load_records(path, "alpaca", {field: name})
    assert getattr(record, field) == "important"
    assert load_records(write(path, {**row, name: ""}, {**row, field: "own"}), "alpaca")


def test_a_system_message_beside_a_chat_under_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"messages": SAID, "system_prompt": "Be long."})
    with pytest.raises(UserError, match="row 1 has system_prompt, but no system; rename it, or remove it"):
        load_records(path, "chat")


def test_messages_in_a_table_of_text_are_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('messages\n"' + json.dumps(SAID).replace('"', '""') + '"\n')
    assert load_records(path, "chat") == load_records(write(tmp_path / "a.jsonl", {"messages": SAID}), "chat")
    path.write_text("messages\nHello\n")
    with pytest.raises(UserError, match=r"row 1: field 'messages': not valid JSON .*found 'Hello'"):
        load_records(path, "chat")


def test_pairs_without_a_prompt_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"messages": [], "chosen": "x", "rejected": "y"})
    config = PreferenceConfig(name="p", path=str(path), method="dpo", format="chat")
    with pytest.raises(UserError, match="row 1: field 'messages' is an empty list"):
        load_pairs(config, [path])
