"""LaTeX without a compiler: the structure of the table, and that no text can break out of it."""

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.tables.latex import WIDE, escape_latex, latex
from analysis.tables.table import Table


def _table(shown, title="Table 3. Regression", caption="n = 1.", key="table3_regression"):
    return Table(key=key, title=title, raw=shown, shown=shown, caption=caption)


def _structure(text):
    """Braces closed, environments nested, every row with as many cells as the header; the number of rows."""
    bare = re.sub(r"\\[\\{}]", "", text)
    assert bare.count("{") == bare.count("}")
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text).group(1)
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(columns)}
    rules = [text.index(rule) for rule in (r"\caption", r"\label", r"\toprule", r"\midrule", r"\bottomrule")]
    assert rules == sorted(rules)
    return len(lines) - 1


def test_a_table_by_hand():
    shown = pd.DataFrame({"dataset": ["world-data"], "w_p²": ["-0.917 (0.1)"], "fit": ["100% & more_of {it}"]})
    text = latex(_table(shown, caption="λ* is given; w_p = PLW ** 0.30103."))
    assert _structure(text) == 1
    assert r"\begin{tabular}{lrr}" in text
    assert r"world-data & $-$0.917 (0.1) & 100\% \& more\_of \{it\} \\" in text
    assert r"dataset & $w_p^2$ & fit \\" in text
    assert r"\caption{Regression. $\lambda^*$ is given; $w_p$ = PLW ** 0.30103.}" in text
    assert r"\label{tab:table3-regression}" in text
    assert "resizebox" not in text


@pytest.mark.parametrize(("characters", "shrunk"), [(WIDE, False), (WIDE + 1, True)])
def test_a_table_is_wide_by_its_widest_entries_and_two_characters_a_column(characters, shrunk):
    shown = pd.DataFrame({"dataset": ["a" * 30, "b"], "p": ["0.1", "9" * (characters - 30 - 2 * 2)]})
    assert ("resizebox" in latex(_table(shown))) == shrunk


def test_columns_of_words_are_set_to_the_left_and_numbers_to_the_right():
    shown = pd.DataFrame({"dataset": ["1"], "p": ["<0.001"], "word": ["–"], "mixed": ["1e-3"], "fit": ["beta"]})
    assert r"\begin{tabular}{lrrrl}" in latex(_table(shown))


def test_a_wide_table_is_shrunk_and_says_what_it_needs():
    shown = pd.DataFrame({f"column {number}": ["0.123 (0.456)"] for number in range(12)})
    text = latex(_table(shown))
    assert _structure(text) == 1
    assert "graphicx" in text
    assert r"\resizebox{\textwidth}{!}{%" in text


@given(st.text(min_size=1, max_size=40), st.lists(st.text(max_size=15), min_size=1, max_size=4))
def test_no_text_breaks_the_structure(name, cells):
    shown = pd.DataFrame({"first": cells, name: [name] * len(cells)})
    if name == "first":
        return
    text = latex(_table(shown, title=name, caption=name))
    assert _structure(text) == len(cells)


@pytest.mark.parametrize("text", [r"\input{/etc/passwd}", "$x$", "a_b^c", "50% #1 ~", "{}&\\", "<script>|"])
def test_every_special_character_is_escaped(text):
    bare = re.sub(r"\\(?:text\w+\{\}|[&%$#_{}])", "", escape_latex(text))
    assert not set(bare) & set("\\{}&%$#_~^<>|")


def test_a_row_that_opens_with_a_bracket_is_no_option_of_the_line_before():
    text = latex(_table(pd.DataFrame({"a": ["[0.1, 0.2]", "*"], "b": ["1", "2"]})))
    assert r"{}[0.1, 0.2] & 1 \\" in text
    assert r"{}* & 2 \\" in text
