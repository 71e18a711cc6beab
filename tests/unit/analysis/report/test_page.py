"""What the page's template makes of tables and sentences."""

import pandas as pd
import pytest

from analysis.report.page import _environment
from analysis.tables.table import Table, number, with_error

FILTERS = _environment().filters


def _table(**columns: list[str]) -> Table:
    shown = pd.DataFrame(columns)
    return Table(key="t", title="T", raw=shown, shown=shown, caption="")


def test_all_values_of_a_column_stand_on_one_edge():
    table = _table(
        dataset=["data", "short"], squeeze=["(y (n - 1) + 0.5) / n", "all shrunk by 0.01"], p=["<0.001", "–"],
        remarks=["", "a sentence of more than forty characters, which may break"],
    )  # fmt: skip
    assert FILTERS["column_classes"](table) == ["text", "text", "", "long"]
    assert FILTERS["column_classes"](_table(dataset=[], p=[])) == ["text", ""]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("run `plw run -m` & look", "run <code>plw run -m</code> &amp; look"),
        ("a lone ` and <b>", "a lone ` and &lt;b&gt;"),
        ("`<script>`", "<code>&lt;script&gt;</code>"),
        ("\x1b[0m", "␛[0m"),
    ],
)
def test_commands_are_code_and_all_else_is_text(said, written):
    assert str(FILTERS["code"](said)) == written


@pytest.mark.parametrize(
    ("value", "number", "mark"),
    [("0.561 (0.034)*", "0.561 (0.034)", "*"), ("+0.5*=", "+0.5", "*="), ("0.1 [0, 1]†", "0.1 [0, 1]", "†")],
)
def test_marks_behind_a_number_stand_outside_its_column(value, number, mark):
    assert str(FILTERS["marked"](value)) == f'{number}<span class="mark-behind">{mark}</span>'


@pytest.mark.parametrize("value", ["*", "–", "0.5", "* 0 [0, 1]", ""])
def test_what_has_no_mark_behind_a_number_stays(value):
    assert str(FILTERS["marked"](value)) == value


@pytest.mark.parametrize("value", [-0.0004, -0.0, 0.0])
def test_what_rounds_to_nothing_has_no_sign(value):
    assert number(value, 2) == "0.00"
    assert with_error(value, 0.1) == "0.000 (0.100)"
