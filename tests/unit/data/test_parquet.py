"""Parquet tables: what Python has no value for, and columns that cannot be told apart, are one line."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from plw.data.records import load_records
from plw.errors import UserError

TEXTS = {"instruction": ["a", "b"], "output": ["x", "y"]}


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(TEXTS | columns), path)
    return path


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"output": ["x", None]}, "row 2: field 'output' is null; it must be text"),
        ({"output": [b"x", b"y"]}, "row 1: field 'output' is of the type bytes; it must be text"),
        (
            {"t": pyarrow.array([1, 2**62], pyarrow.duration("s"))},
            r"row 2: field 't' is a value of the type duration\[s\] that cannot be read .*; leave the column out",
        ),
        (
            {"t": pyarrow.array([None, 1], pyarrow.timestamp("s", tz="Mars/Olympus"))},
            r"row 2: field 't' is a value of the type timestamp\[ms, tz=Mars/Olympus\] that cannot be read",
        ),
    ],
)
def test_a_mistake_names_row_and_field(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=f"a.parquet: {told}"):
        load_records(write(tmp_path / "a.parquet", **columns), "alpaca")


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"b.parquet: not a parquet file that can be read"):
        load_records(tmp_path / "b.parquet", "alpaca")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Python keeps the last of them."""
    table = pyarrow.table([["a"], ["b"], ["c"]], names=["instruction", "output", "output"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet: two columns are named 'output'; give each a name of its own"):
        load_records(tmp_path / "a.parquet", "alpaca")


def test_a_decimal_is_a_weight(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", w=[Decimal("0.5"), Decimal(2)])
    assert [record.weight for record in load_records(path, "alpaca", {"weight": "w"})] == [0.5, 2]
