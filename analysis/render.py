"""Tables as CSV, Markdown and HTML text. Every name and message is escaped: they may hold anything."""

import html
import io

import pandas as pd

from analysis.tables import Table


def table_csv(table: Table) -> str:
    """The raw numbers to the last digit; a missing one is an empty field."""
    out = io.StringIO()
    table.raw.to_csv(out, index=False, lineterminator="\n")
    return out.getvalue()


def table_markdown(table: Table) -> str:
    """A heading, the table and its caption."""
    shown = table.shown.map(_markdown_cell)
    header = [_markdown_cell(name) for name in shown.columns]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *shown.itertuples(index=False, name=None)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {table.title}\n\n{body}\n\n{table.caption}\n"


def table_html(table: Table) -> str:
    """A figure element that scrolls sideways by itself where the screen is narrow."""
    head = "".join(_html_head(str(name), table.shown[name]) for name in table.shown.columns)
    rows = "\n".join(_html_row(row) for row in table.shown.itertuples(index=False, name=None))
    return (
        f"<figure class='table' id='{html.escape(table.key)}'><figcaption><b>{html.escape(table.title)}.</b> "
        f"{html.escape(table.caption)}</figcaption><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{rows}\n</tbody></table></div></figure>"
    )


def _html_head(name: str, column: "pd.Series[str]") -> str:
    words = " class='text'" if any(_kind(str(value)) for value in column) else ""
    return f"<th scope='col'{words}>{html.escape(name)}</th>"


def _html_row(row: tuple[str, ...]) -> str:
    first, *rest = (str(value) for value in row)
    cells = "".join(f"<td{_kind(value)}>{html.escape(value)}</td>" for value in rest)
    return f"<tr><th scope='row'>{html.escape(first)}</th>{cells}</tr>"


def _kind(value: str) -> str:
    """Words stand to the left and may break, numbers to the right."""
    return " class='long'" if len(value) > 40 else " class='text'" if value[:1].isalpha() else ""


def _markdown_cell(value: object) -> str:
    text = " ".join(str(value).split()) if not (isinstance(value, float) and pd.isna(value)) else ""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
