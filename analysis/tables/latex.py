"""Tables as LaTeX: a floating booktabs table, every name and message escaped."""

import re

from analysis.tables.table import Table

WIDE = 92
"""Characters of a row above which the table is shrunk to the width of the text."""

ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "λ": r"$\lambda$",
    "²": r"$^2$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "→": r"$\rightarrow$",
    "…": r"\ldots{}",
}
"""What stands for something in LaTeX, and what its usual fonts lack."""

SYMBOLS = {"R_g": "$R_g$", "w_p²": "$w_p^2$", "w_p": "$w_p$", "λ*": r"$\lambda^*$"}
"""The papers' symbols, set as mathematics where they stand as a word of their own."""

_NEGATIVE = re.compile(r"(?<![\w-])-(?=\.?\d)")

_WORDS = re.compile(r"(?<![\w*])(?:" + "|".join(map(re.escape, SYMBOLS)) + r")(?!\w)")


def latex(table: Table) -> str:
    """A ``table`` environment with caption, label ``tab:<key>`` and booktabs rules, for the document to input.

    The preamble needs the packages booktabs and, for wide tables, graphicx. The first column is set to the left,
    columns of words too, numbers to the right. Characters beyond Latin letters, and beyond those in ``ESCAPES``, are
    left to the document's encoding.
    """
    header = [_text(str(name)) for name in table.shown.columns]
    rows = [[_text(str(value)) for value in row] for row in table.shown.itertuples(index=False, name=None)]
    title = re.sub(r"^Table \d+\.\s*", "", table.title)
    body = [
        rf"\begin{{tabular}}{{{_columns(table)}}}",
        r"\toprule",
        _line(header),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if _width(table) > WIDE:
        body = [r"\resizebox{\textwidth}{!}{%", *body[:-1], body[-1] + "}"]
    return "\n".join(
        [
            "% Needs \\usepackage{booktabs}" + (" and \\usepackage{graphicx}." if _width(table) > WIDE else "."),
            r"\begin{table}[t]",
            r"\centering",
            r"\small",
            rf"\caption{{{_text(title)}. {_text(table.caption)}}}",
            rf"\label{{tab:{_label(table.key)}}}",
            *body,
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Plain text as LaTeX that prints just that text: special characters escaped, white space made single spaces."""
    return "".join(ESCAPES.get(character, character) for character in " ".join(text.split()))


def _text(text: str) -> str:
    """Escaped, but for the papers' symbols."""
    parts, last = [], 0
    for found in _WORDS.finditer(text):
        parts += [_escape_part(text[last : found.start()]), SYMBOLS[found.group()]]
        last = found.end()
    return "".join([*parts, _escape_part(text[last:])]).strip()


def _escape_part(part: str) -> str:
    """White space at the ends counts here: the part is followed or led by a symbol."""
    lead, tail = (" " if part[:1].isspace() else ""), (" " if part.strip() and part[-1:].isspace() else "")
    return lead + _NEGATIVE.sub("$-$", escape_latex(part)) + tail


def _line(cells: list[str]) -> str:
    # A row that opened with a bracket would be read as an option of the line break before it.
    return " & ".join("{}" + cell if cell.startswith(("[", "*")) else cell for cell in cells) + r" \\"


def _columns(table: Table) -> str:
    first, *rest = (table.shown[name] for name in table.shown.columns)
    del first
    return "l" + "".join("l" if any(str(value)[:1].isalpha() for value in column) else "r" for column in rest)


def _width(table: Table) -> int:
    """Characters of the widest row, each column as wide as its widest entry."""
    columns = [[str(name), *map(str, table.shown[name])] for name in table.shown.columns]
    return sum(max(map(len, column)) + 2 for column in columns)


def _label(key: str) -> str:
    return re.sub(r"[^a-zA-Z0-9:-]+", "-", key)
