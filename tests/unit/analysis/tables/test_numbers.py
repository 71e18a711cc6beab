"""How numbers are written in every table."""

import math

import pandas as pd
import pytest

from analysis.tables.table import interval_text, number, p_value, significant, texts, with_error


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_missing_is_a_dash(missing: float | None) -> None:
    found = [number(missing, 2), interval_text(missing, 1.0), significant(missing), with_error(missing, 0.1)]
    assert [*found, p_value(missing)] == ["–"] * 5
    assert with_error(0.5, missing) == "0.500"
    assert interval_text(1.0, missing) == "1.00 to –"
    assert texts(pd.DataFrame({"a": [1, missing, "x"]})).to_dict("list") == {"a": ["1", "–", "x"]}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (number(1234567.891, 2), "1,234,567.89"),
        (number(-0.0004, 2), "0.00"),
        (number(2.5, 0), "2"),
        (interval_text(-0.934, 6.041), "-0.93 to 6.04"),
        (interval_text(-0.934, 6.041, 1), "-0.9 to 6.0"),
        (significant(0.08234), "0.0823"),
        (significant(1234.0), "1.23e+03"),
        (with_error(-0.0001, 0.0344), "0.000 (0.034)"),
        (with_error(0.5123, 0.0), "0.512 (0.000)"),
        (p_value(0.001), "0.001"),
        (p_value(0.00099), "<0.001"),
        (p_value(0.0456), "0.046"),
        (p_value(1.0), "1.000"),
    ],
)
def test_numbers_are_rounded_alike(found: str, text: str) -> None:
    assert found == text
