"""One reader for all JSON of a user: the same rows whatever the encoding and the form, one line for what is no JSON."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plw.data.prompts import load_answers, load_prompts
from plw.data.records import load_records
from plw.data.rows import task_rows
from plw.errors import UserError
from plw.files.json_text import MAX_DEPTH
from plw.files.reading import read_json, read_rows

ODD = "line\u2028next\u0085and\u2029on \x0b\x0c\x1c é 😀"
"""Separators that str.splitlines knows, letters of two and four bytes."""
ROWS = [{"instruction": f"Say {n} {ODD}", "input": "", "output": f"It is {n} {ODD}"} for n in range(3)]
FORMS: dict[str, Callable[[Any], str]] = {
    "list": lambda rows: json.dumps(rows, ensure_ascii=False),
    "indented list": lambda rows: "\n " + json.dumps(rows, ensure_ascii=False, indent=2) + "\n\n",
    "lines": lambda rows: "\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
    "lines with blank ones": lambda rows: "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\r\n",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "rows": read_rows,
    "records": lambda path: load_records(path, "alpaca"),
    "prompts": load_prompts,
    "task": task_rows,
}


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.json", data)
    return buffer.getvalue()


def table(data: bytes) -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": [data.decode()]}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_form_and_encoding_do_not_matter(form: str, encoding: str, tmp_path: Path) -> None:
    for name in ("data.json", "data.jsonl"):
        path = tmp_path / name
        path.write_bytes(FORMS[form](ROWS).encode(encoding))
        assert [row for _, row in read_rows(path)] == ROWS
        assert [where for where, _ in read_rows(path)] == [f"{path}: row {n}" for n in (1, 2, 3)]
        assert task_rows(path) == ROWS
        read: list[Any] = list(load_records(path, "alpaca"))
        assert [(record.instruction, record.output) for record in read] == [
            (r["instruction"], r["output"]) for r in ROWS
        ]
        assert [prompt.reference for prompt in load_prompts(path)] == [row["output"] for row in ROWS]


def good(number: int) -> str:
    return json.dumps({"instruction": f"{number}", "output": "x"})


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", ["list", "lines"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"instruction": "cut', "Unterminated string|control character"),
        ("[" * 3000 + "]" * 3000, "nested too deeply"),
        ('{"instruction": ' * 3000 + "1" + "}" * 3000, "nested too deeply"),
        ('{"instruction": "x", "output": ' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        ('{"instruction": "x", "output": ' + "1" * 5000 + "}", "digits"),
        ('{"instruction": "x", "output": NaN}', "NaN"),
        ('{"instruction": "x", "output": -Infinity}', "-Infinity"),
        ('{"instruction": "x" "output"}', 'delimiter, found \'"output"}'),
        ('\ufeff{"instruction": "x"}', r"found '\\ufeff\{"),
        ("\0\0", r"found '\\x00\\x00"),
        ("<!DOCTYPE html><html>", "found '<!DOCTYPE html"),
        ("{'instruction': 'x'}", "found \"'instruction': "),
    ],
)
def test_what_is_no_json_is_told_with_its_row(reader: str, form: str, bad: str, reason: str, tmp_path: Path) -> None:
    rows = [good(1), good(2), bad, good(4)]
    path = tmp_path / "data.json"
    path.write_text("[" + ",\n".join(rows) + "]" if form == "list" else "\n".join(rows))
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    line = str(caught.value)
    assert line.startswith(f"{path}: row 3 is not valid JSON")
    assert re.search(reason, line)
    assert "\n" not in line
    assert len(line) < 300


@pytest.mark.parametrize("reader", [name for name in READERS if name != "rows"])
def test_half_a_surrogate_pair_names_row_and_field(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("[" + ",".join([good(1), '{"instruction": "x", "output": "é cut \\ud83d"}']) + "]")
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    line = str(caught.value)
    assert line.startswith(f"{path}: row 2: field 'output'")
    assert "U+D83D" in line
    line.encode()  # It can be printed.


@pytest.mark.parametrize("given", [{}, {"input": None}, {"input": ""}], ids=str)
def test_a_row_without_input_is_one_in_prompts_as_in_data(given: dict[str, None], tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"instruction": "x", "output": "y"} | given]))
    assert load_prompts(path)[0].input == load_records(path, "alpaca")[0].input == ""
    path.write_text(json.dumps([{"instruction": "x", "input": 3, "output": "y"}]))
    with pytest.raises(UserError, match=r"row 1 has no text in field input \(found a number\)"):
        load_prompts(path)


def test_an_empty_system_message_is_one_and_null_is_none(tmp_path: Path) -> None:
    """A chat template writes its own where there is none; an empty one is how data leave that out."""
    path = tmp_path / "data.json"
    rows = [{"instruction": "x", "output": "y"} | given for given in ({}, {"system": None}, {"system": ""})]
    path.write_text(json.dumps(rows))
    assert [prompt.system for prompt in load_prompts(path)] == [None, None, ""]
    path.write_text(json.dumps([{"instruction": "x", "system": ["s"], "output": "y"}]))
    with pytest.raises(UserError, match="row 1 has no text in field system"):
        load_prompts(path)


def test_an_answer_after_another_system_message_is_to_another_prompt(tmp_path: Path) -> None:
    asked, given = tmp_path / "asked.json", tmp_path / "given.json"
    rows = [{"instruction": "x", "system": system, "output": "y"} for system in ("Be brief.", "Be long.", None)]
    asked.write_text(json.dumps(rows))
    prompts = load_prompts(asked)
    assert load_answers(asked, prompts) == ["y"] * 3
    # Others' files have no field of the kind, and the message before the instruction.
    texts = ("Be brief.\n\nx", "Be long.\n\nx", "x")
    given.write_text(json.dumps([{"instruction": text, "output": "z"} for text in texts]))
    assert load_answers(given, prompts) == ["z"] * 3
    given.write_text(json.dumps([{"instruction": "x", "output": "z"}] * 3))
    with pytest.raises(UserError, match="row 1 answers another prompt"):
        load_answers(given, prompts)
    given.write_text(json.dumps([rows[1], rows[0], rows[2]]))
    with pytest.raises(UserError, match="row 1 answers another prompt"):
        load_answers(given, prompts)


def test_a_whole_pair_in_escapes_is_text(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('[{"instruction": "x", "output": "\\ud83d\\ude00"}]')
    (record,) = load_prompts(path)
    assert record.reference == "😀"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"instruction": "caf\xe9"}]', "not UTF-8"),
        (b"\xff\xfe[\x00{", "UTF-16"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git-lfs"),
    ],
)
def test_what_is_no_text_is_told_with_the_remedy(reader: str, data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("bad", ["[" * 3000 + "]" * 3000, "1" * 5000, "NaN", '{"a": 1} {"b": 2}', ""])
def test_a_single_value_is_read_by_the_same_rules(bad: str, tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": ODD}, ensure_ascii=False).encode())
    assert read_json(path) == {"a": ODD}
    path.write_text(bad)
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_key_that_stands_twice_in_an_object_is_told_with_its_row(reader: str, form: str, tmp_path: Path) -> None:
    """Of two values the last would count, and nobody would know of the first."""
    path = tmp_path / "data.json"
    text = FORMS[form](ROWS)
    for last, told in (('"output": "other"', "output"), ('"more": [{"a": 1, "b": 2, "a": 3}]', "a")):
        path.write_text(re.sub(r"(?s)\}(?!.*\})", f", {last}}}", text), encoding="utf-8")
        with pytest.raises(UserError, match=f"data.json: row 3: the key '{told}' stands twice in one object"):
            READERS[reader](path)


def test_a_single_value_may_have_a_key_twice(tmp_path: Path) -> None:
    """As a model's config may, which other readers take."""
    path = tmp_path / "config.json"
    path.write_text('{"a": 1, "a": 2}')
    assert read_json(path) == {"a": 2}


@pytest.mark.parametrize("form", ["[x]", "x"])
def test_a_row_may_be_nested_so_far_and_no_further(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    for levels, fits in ((MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        path.write_text(form.replace("x", '{"a": ' + "[" * (levels - 1) + "]" * (levels - 1) + "}"))
        if fits:
            assert len(read_rows(path)) == 1
        else:
            with pytest.raises(UserError, match=r"row 1 is not valid JSON .*nested too deeply"):
                read_rows(path)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        (gzip.compress, "compressed by gzip and no text; unpack it"),
        (bz2.compress, "compressed by bzip2 and no text; unpack it"),
        (lzma.compress, "compressed by xz and no text; unpack it"),
        (zipped, "a zip archive and no text; unpack it"),
        (pickle.dumps, "a pickle of Python's and no text; save it as JSON lines"),
        (table, "a parquet table and no text; give its name the end .parquet"),
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_text_is_called_what_it_is(
    tmp_path: Path, reader: str, packed: Callable[[bytes], bytes], expected: str
) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(packed(json.dumps(ROWS).encode()))
    with pytest.raises(UserError, match=f"data.json: {expected}"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_a_link_to_nothing_is_called_one(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "data.json"
    path.symlink_to(tmp_path / "gone.json")
    with pytest.raises(UserError, match=r"data.json: a link to .*gone.json, where no file is"):
        READERS[reader](path)
