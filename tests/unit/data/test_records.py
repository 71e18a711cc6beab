"""Records: what is read, and one line for each mistake."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from plw.data.records import AlpacaRecord, ChatRecord, load_records
from plw.errors import UserError

GOOD = {"instruction": "Add.", "input": "1 1", "output": "2"}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_json_and_jsonl_hold_the_same_records(tmp_path: Path) -> None:
    rows = [
        GOOD,
        {"instruction": "Say\u2028hi.", "output": ""},
        {"instruction": "x", "input": None, "output": "y", "id": 3},
    ]
    as_json = load_records(write(tmp_path / "a.json", rows), "alpaca")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    as_jsonl = load_records(write(tmp_path / "a.jsonl", "\ufeff" + lines), "alpaca")
    assert as_json == as_jsonl
    assert as_json[1] == AlpacaRecord(instruction="Say\u2028hi.", input="", output="")
    assert as_json[2].input == ""


def test_chat_keeps_order_and_roles(tmp_path: Path) -> None:
    turns = [("system", "s"), ("user", "u"), ("assistant", "a")]
    rows = [{"messages": [{"role": role, "content": content} for role, content in turns]}]
    (record,) = load_records(write(tmp_path / "c.json", rows), "chat")
    assert [(message.role, message.content) for message in record.messages] == turns


def test_openais_rows_are_read_as_they_are(tmp_path: Path) -> None:
    """The developer's message is the system's, and who calls a tool need not say anything."""
    calls = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "q"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "3", "tool_call_id": "1"},
        {"role": "assistant", "content": "3", "weight": 1},
    ]
    (record,) = load_records(write(tmp_path / "c.jsonl", json.dumps({"messages": messages})), "chat")
    assert [message.role for message in record.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert record.messages[2].content == ""
    assert record.messages[2].more == {"tool_calls": calls}


@pytest.mark.parametrize(
    ("more", "tools", "told"),
    [
        ({"reasoning_content": "\ud83d"}, [], "message 2: field 'reasoning_content' holds half of a surrogate pair"),
        ({"tool_calls": [{"f": "\ud83d"}]}, [], "message 2: field 'tool_calls'.* holds half of a surrogate pair"),
        ({}, '[{"name": "\\ud83d"}]', "row 1: field 'tools'.* holds half of a surrogate pair"),
        ({}, "[" * 100_000, "row 1: field 'tools': not valid JSON .*nested too deeply"),
        ({}, '[{"name": 1, "name": 2}]', "row 1: field 'tools': the key 'name' stands twice"),
        ({}, ["search"], r"row 1: field 'tools\[0\]' is text; it must be an object"),
    ],
)
def test_what_a_chat_template_would_write_is_checked_too(tmp_path: Path, more: Any, tools: Any, told: str) -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", **more}]
    with pytest.raises(UserError, match=told):
        load_records(write(tmp_path / "c.json", [{"messages": messages, "tools": tools}]), "chat")


def test_openais_content_in_parts_is_their_words(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Add 1"}, {"type": "text", "text": " and 1."}]
    said = [{"role": "user", "content": parts}, {"role": "assistant", "content": "2"}]
    (record,) = load_records(write(tmp_path / "c.json", [{"messages": said}]), "chat")
    assert record.messages[0].content == "Add 1 and 1."


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"type": "image_url", "image_url": {"url": "a.png"}}, "message 1: part 2 of field 'content' is 'image_url'"),
        ({"type": "text"}, "message 1: part 2 of field 'content' is 'text'"),
        ("b", "message 1: part 2 of field 'content' is 'text'"),
        ({"type": "text", "text": 3}, r"message 1: field 'content\[1\].text' is a number; it must be text"),
    ],
)
def test_a_part_that_is_no_text_is_refused(tmp_path: Path, part: Any, found: str) -> None:
    said = [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}, {"role": "assistant", "content": "2"}]
    with pytest.raises(UserError, match=found):
        load_records(write(tmp_path / "c.json", [{"messages": said}]), "chat")


def test_a_table_of_text_holds_the_same_records(tmp_path: Path) -> None:
    """Quoted fields hold commas, quotation marks and line breaks; Excel's mark and line ends are none of the text."""
    rows = [
        {"instruction": 'Say "hi", twice.', "input": "", "output": "hi\nhi"},
        {"instruction": "x" * 200_000, "input": "a\tb", "output": "007"},
    ]
    expected = load_records(write(tmp_path / "a.json", rows), "alpaca")
    for name, delimiter, encoding in (
        ("a.csv", ",", "utf-8-sig"),
        ("b.csv", ";", "utf-8-sig"),
        ("c.CSV", "\t", "utf-8"),
        ("a.tsv", "\t", "utf-16"),
    ):
        for before in ("", "\r\n  \r\n", f"sep={delimiter}\r\n"):
            with (tmp_path / name).open("w", encoding=encoding, newline="") as file:
                file.write(before)
                writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
                writer.writeheader()
                for row in rows:
                    writer.writerow(row)
                    file.write("\r\n" + delimiter * 2 + "\r\n")
            assert load_records(tmp_path / name, "alpaca") == expected


def test_columns_without_a_name_are_nobodys(tmp_path: Path) -> None:
    """A table with an index has one in front, one from Excel some at the end."""
    path = write(tmp_path / "a.csv", ",instruction,output,,\n0,a,b,,\n")
    (record,) = load_records(path, "alpaca")
    assert (record.instruction, record.output) == ("a", "b")


@pytest.mark.parametrize("name", ["Input", "INPUT", "input ", " Input"])
def test_an_input_by_another_name_is_not_left_out_silently(tmp_path: Path, name: str) -> None:
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "a", name: "important", "output": "b"}]
    path = write(tmp_path / "a.json", rows)
    with pytest.raises(UserError, match=rf"row 2 has no field 'input', but one named {name!r}; .*\+dataset.columns"):
        load_records(path, "alpaca")
    assert [record.input for record in load_records(path, "alpaca", {"input": name})] == ["", "important"]


def test_an_input_column_that_no_row_has_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"instruction": "a", "ctx": "c", "output": "b"}] * 2)
    with pytest.raises(UserError, match=r"row 1 has no field 'context' \(fields found: .*\), nor has any other row"):
        load_records(path, "alpaca", {"input": "context"})


def test_a_weight_in_a_table_of_text_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "instruction,output,loss\na,b,0.5\n")
    assert load_records(path, "alpaca", {"weight": "loss"})[0].weight == 0.5
    with pytest.raises(UserError, match="row 1: field 'loss' is '0,5'; it must be a finite number"):
        load_records(write(path, 'instruction,output,loss\na,b,"0,5"\n'), "alpaca", {"weight": "loss"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "holds no records"),
        ("instruction,output\n", "holds no records"),
        ("instruction,output\na,b\nc,d,e\n", "row 2 has 3 fields where the first line names 2"),
        ("instruction,output\na\n", "row 1 has 1 field where the first line names 2"),
        ('instruction,output\na,"b\n', "row 1 cannot be read as CSV"),
        (
            "instruction;output\na\n",
            "row 1 has 1 field where the first line names 2; put a field that holds a semicolon",
        ),
        ("instruction, output\na,b\n", "the first line names a column ' output', with white space"),
        ("instruction,output,output\na,b,c\n", "two columns are named 'output'"),
        (
            "question,output\na,b\n",
            r"row 1 has no field 'instruction' \(fields found: question, output\); if it has another name: ",
        ),
    ],
)
def test_a_table_of_text_that_is_broken(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(UserError, match=f"a.csv: {found}"):
        load_records(write(tmp_path / "a.csv", text), "alpaca")


@pytest.mark.parametrize(
    ("form", "field", "speaker", "words", "names"),
    [
        ("sharegpt", "conversations", "from", "value", ("human", "gpt")),
        ("chat", "messages", "role", "content", ("user", "assistant")),
    ],
)
def test_a_system_text_beside_a_conversation_is_its_first_message(
    tmp_path: Path, form: str, field: str, speaker: str, words: str, names: tuple[str, str]
) -> None:
    """LLaMA-Factory's rows have it so, and Anthropic's."""
    said = [{speaker: names[0], words: "q"}, {speaker: names[1], words: "a"}]
    inside = [{speaker: "system", words: "Be brief."}, *said]
    rows = [{"system": "Be brief.", field: said}, {"system": "", field: said}, {"system": "Be brief.", field: inside}]
    with_system, without, twice = load_records(write(tmp_path / "c.json", rows), form)
    assert isinstance(with_system, ChatRecord)
    assert isinstance(without, ChatRecord)
    assert [(m.role, m.content) for m in with_system.messages[:2]] == [("system", "Be brief."), ("user", "q")]
    assert with_system.messages[1:] == without.messages
    assert twice == with_system
    other = {"system": "Be long.", field: inside}
    with pytest.raises(UserError, match="row 1 has a field 'system' and a first message of the system"):
        load_records(write(tmp_path / "d.json", [other]), form)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "a.json",
            [GOOD, {"instruction": "x", "input": ""}],
            "row 2 has no field 'output' (fields found: instruction, input)",
        ),
        ("a.json", [GOOD, GOOD, {**GOOD, "output": None}], "row 3: field 'output' is null; it must be text"),
        ("a.json", [{**GOOD, "output": ["2"]}], "row 1: field 'output' is a list; it must be text"),
        ("a.json", [{**GOOD, "instruction": 5}], "row 1: field 'instruction' is a number; it must be text"),
        ("a.json", [{**GOOD, "input": True}], "row 1: field 'input' is true or false; it must be text"),
        ("a.json", [GOOD, "text"], "row 2 is text, not an object"),
        ("a.json", {"data": [GOOD]}, "row 1 has no field 'instruction' (fields found: data)"),
        ("a.json", [], "holds no records; give a file with at least one"),
        ("a.jsonl", "\n\n", "holds no records; give a file with at least one"),
        ("a.json", "", "holds no records; give a file with at least one"),
        ("a.json", json.dumps({"data": [GOOD]}, indent=1), "one JSON value of several lines, not a list"),
        (
            "a.json",
            f'[{json.dumps(GOOD)},\n{json.dumps(GOOD)},\n{{"instruction": "x" "output"}}]',
            "row 3 is not valid JSON",
        ),
        ("a.json", f"[{json.dumps(GOOD)},\n{json.dumps(GOOD)}", "row 2 is not valid JSON"),
        ("a.jsonl", f"{json.dumps(GOOD)}\n\n{{broken\n", "row 2 is not valid JSON"),
        ("a.txt", "instruction,output", "unknown kind of file '.txt'; allowed: .json, .jsonl"),
        ("a", "instruction,output", "no end of its name says what it is; allowed: .json, .jsonl"),
        ("a.json", f"{json.dumps(GOOD, indent=1)}\n" * 2, "holds JSON values of several lines each; write one a line"),
    ],
)
def test_alpaca_mistakes_are_one_line(tmp_path: Path, name: str, content: Any, expected: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        load_records(path, "alpaca")
    message = str(caught.value)
    assert message.startswith(str(path))
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, "row 1 has no field 'messages'"),
        ({"messages": []}, "field 'messages' is an empty list"),
        ({"messages": [{"role": "user", "content": "u"}]}, "no message of the assistant"),
        (
            {"messages": [{"role": "bot", "content": "u"}]},
            "message 1: field 'role' is 'bot'; allowed: system, user, assistant",
        ),
        ({"messages": [{"role": "user", "content": "u"}, {"role": "assistant"}]}, "message 2 has no field 'content'"),
        ({"messages": ["hi"]}, "message 1 is text, not an object"),
    ],
)
def test_chat_mistakes_are_one_line(tmp_path: Path, row: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match="row 1") as caught:
        load_records(write(tmp_path / "c.json", [row]), "chat")
    assert expected in str(caught.value)


def test_places_that_hold_no_file(tmp_path: Path) -> None:
    for name in ("absent.json", "absent.csv", "absent.parquet"):
        with pytest.raises(UserError, match=f"{name}: no such file"):
            load_records(tmp_path / name, "alpaca")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UserError, match=r"folder.json: cannot be read \(Is a directory\)"):
        load_records(tmp_path / "folder.json", "alpaca")
    (tmp_path / "latin.json").write_bytes(b'[{"instruction": "\xe9"}]')
    with pytest.raises(UserError, match="not UTF-8"):
        load_records(tmp_path / "latin.json", "alpaca")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(UserError, match=r"d\.jsonl\.gz: compressed by gzip and no text; unpack it"):
        load_records(tmp_path / "d.jsonl.gz", "alpaca")
    with pytest.raises(UserError, match=r"dataset.format=parquet is not known; allowed: alpaca, chat, sharegpt, turns"):
        load_records(tmp_path / "latin.json", "parquet")


def test_turns_take_the_parts_of_user_and_assistant(tmp_path: Path) -> None:
    rows = [{"conversations": ["u", "a", "v", "b"]}]
    (record,) = load_records(write(tmp_path / "t.jsonl", json.dumps(rows[0])), "turns", {"messages": "conversations"})
    assert isinstance(record, ChatRecord)
    roles = [(message.role, message.content) for message in record.messages]
    assert roles == [("user", "u"), ("assistant", "a"), ("user", "v"), ("assistant", "b")]
    for bad, expected in (
        ({"conversations": ["u"]}, "field 'conversations' has no message of the assistant"),
        ({"conversations": ["u", 3]}, "message 2 is a number; it must be text"),
        ({"messages": ["u", "a"]}, "has no field 'conversations' (fields found: messages)"),
    ):
        with pytest.raises(UserError) as caught:
            load_records(write(tmp_path / "t.json", [rows[0], bad]), "turns", {"messages": "conversations"})
        assert str(caught.value).startswith(f"{tmp_path}/t.json: row 2")
        assert expected in str(caught.value)


def test_columns_are_found_by_name_or_way(tmp_path: Path) -> None:
    row = {"q": {"text": "Add."}, "a.b": "2", "chosen": [{"content": "1 1"}, {"content": "9"}]}
    path = write(tmp_path / "a.json", [row])
    ways = {"instruction": "q.text", "input": "chosen[0].content", "output": "a.b"}
    assert load_records(path, "alpaca", ways) == [AlpacaRecord(**GOOD)]
    for way in ("chosen[2].content", "q.other", "q[0]", "chosen.content", "nothing"):
        with pytest.raises(UserError) as caught:
            load_records(path, "alpaca", {**ways, "output": way})
        assert f"row 1 has no field '{way}' (fields found: q, a.b, chosen)" in str(caught.value)


def test_several_files_are_one_dataset(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.json", [{**GOOD, "output": str(n)}]) for n in range(3)]
    assert [r.output for r in load_records(paths, "alpaca") if isinstance(r, AlpacaRecord)] == ["0", "1", "2"]
