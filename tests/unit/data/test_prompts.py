"""Files of prompts: read as datasets are, whatever kind of file they are."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from plw.config.evaluation import SensitivityConfig
from plw.data.prompts import load_answers, load_prompts
from plw.data.rows import task_rows
from plw.errors import UserError
from plw.evaluate.judging.mt_bench_files import load_questions
from plw.evaluate.sensitivity.variants import load_wordings

ROWS = [
    {"instruction": "Say hi; loudly,\nplease.", "input": "", "system": "Be brief.", "output": "hi"},
    {"instruction": "Add.", "input": "1 1", "system": None, "output": None},
]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter={".csv": ";", ".tsv": "\t"}[path.suffix])
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["prompts.csv", "prompts.tsv", "prompts.parquet", "prompts.txt"])
def test_a_table_holds_the_same_prompts_and_answers(tmp_path: Path, name: str) -> None:
    """An empty field of a table of text is no system message and no answer, as null is."""
    path = written(tmp_path / name, ROWS)
    prompts = load_prompts(path)
    assert prompts == load_prompts(written(tmp_path / "prompts.json", ROWS))
    assert [(prompt.system, prompt.reference) for prompt in prompts] == [("Be brief.", "hi"), (None, None)]
    assert load_answers(path, prompts[:1]) == ["hi"]
    with pytest.raises(UserError, match=f"{name}: row 2 has no reference answer"):
        load_answers(path, prompts)
    wordings = load_wordings(written(tmp_path / f"w-{name}", [{"instruction": "Write a poem.", "input": "x"}]), KINDS)
    assert wordings[0][0][0] == "Write a poem."


KINDS = SensitivityConfig(prompts="FILE")


def test_tables_with_columns_of_lists_hold_dialogues_and_documents(tmp_path: Path) -> None:
    rows = [{"question_id": 1, "category": "writing", "turns": ["a", "b"]}]
    for name in ("q.jsonl", "q.parquet"):
        assert load_questions(written(tmp_path / name, rows))[0].turns == ("a", "b")
    labelled = [{"goal": "g", "label": 1}]
    assert task_rows(written(tmp_path / "t.parquet", labelled)) == labelled
    with pytest.raises(UserError, match=r"t.csv: all values of a .csv file are texts, .*; give it as JSON or parquet"):
        task_rows(written(tmp_path / "t.csv", labelled))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("instruction,output\na\n", "row 1 has 1 field where the first line names 2"),
        ("question,output\na,b\n", r"row 1 has no text in field instruction \(fields found: question, output\)"),
        ("instruction,output\n", "holds no rows; give a file with at least one"),
        ("instruction,Input\na,b\n", "row 1 has no field 'input', but one named 'Input'; rename it"),
        ("instruction,System\na,b\n", "row 1 has no field 'system', but one named 'System'; rename it"),
    ],
)
def test_mistakes_in_a_table_of_prompts_are_one_line(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=f"p.csv: {told}"):
        load_prompts(path)
