"""Files whose rows lie inside one object, as pandas, the hub's viewer and converters of questions write them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from plw.config.preference import PreferenceConfig
from plw.data.pairs import load_pairs
from plw.data.prompts import load_prompts
from plw.data.records import load_records
from plw.errors import UserError

ROWS = [{"instruction": f"Name {i}.", "input": "", "output": f"Shade {i}."} for i in range(3)]
TABLE = "the file is one table and no list of rows: write one object a row"
READERS = {
    "data": lambda path: load_records(path, "alpaca"),
    "prompts": load_prompts,
    "pairs": lambda path: load_pairs(PreferenceConfig(name="pairs", method="dpo", path=str(path)), [path]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("orient", ["split", "index", "columns", "table", None])
def test_a_table_of_pandas_is_called_one(tmp_path: Path, orient: Any, reader: str) -> None:
    path = tmp_path / "data.json"
    pd.DataFrame(ROWS).to_json(path, orient=orient)
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert str(caught.value).startswith(f"{path}: row 1")
    assert TABLE in str(caught.value)
    assert "columns." not in str(caught.value)


def test_rows_of_pandas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    pd.DataFrame(ROWS).to_json(path, orient="records", lines=True)
    assert len(load_records(path, "alpaca")) == len(ROWS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"version": "1.0", "data": ROWS}, "rows lie in its field 'data': save that list alone"),
        ({"train": ROWS, "test": ROWS}, "rows lie in its field 'train': save that list alone"),
        ({"instruction": ["a", "b"], "output": ["c", "d"]}, TABLE),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_rows_inside_an_object_are_found(tmp_path: Path, value: Any, indent: int | None, expected: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(value, indent=indent))
    with pytest.raises(UserError) as caught:
        load_records(path, "alpaca")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Q"}]},
        {"question": "Q", "output": ["A"]},
        {"instruction": ["Q"]},
        {"instruction": {"text": "Q"}},
        {"instruction": "Q", "output": "A", "history": [{"user": "Q", "assistant": "A"}]},
    ],
)
def test_a_single_row_is_no_table(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UserError, match=f"{path}: row 1") as caught:
        load_records(path, "alpaca")
    assert "list of rows" not in str(caught.value)
    assert "save that list" not in str(caught.value)
