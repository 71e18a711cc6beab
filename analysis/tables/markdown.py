"""Tables as CSV and Markdown text. Every name and message is escaped: they may hold anything."""

import html
import io

import pandas as pd

from analysis.tables.table import Table


def table_csv(table: Table) -> str:
    """The raw numbers to the last digit; a missing one is an empty field."""
    out = io.StringIO()
    table.raw.to_csv(out, index=False, lineterminator="\n")
    return out.getvalue()


def table_markdown(table: Table) -> str:
    """The table as GitHub's Markdown, under a heading with its title and above its caption."""
    shown = table.shown.map(_markdown_cell)
    header = [_markdown_cell(name) for name in shown.columns]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *shown.itertuples(index=False, name=None)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {table.title}\n\n{body}\n\n{table.caption}\n"


def _markdown_cell(value: object) -> str:
    text = " ".join(str(value).split()) if not (isinstance(value, float) and pd.isna(value)) else ""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
