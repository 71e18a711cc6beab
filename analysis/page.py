"""The report as one HTML page that needs nothing else: styles inside, pictures as data, all foreign text escaped."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.render import table_html
from analysis.tables import Table

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5c5c5c; --line: #d8d8d8; --paper: #ffffff; --band: #f5f6f8;
  --link: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --line: #3c3f44; --paper: #16181b; --band: #1f2226; --link: #7cc0f0; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem clamp(0.8rem, 4vw, 2.5rem) 4rem; max-width: 66rem;
  color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.4rem 0 0.6rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; padding: 0; list-style: none; font-size: 0.92rem; }
figure { margin: 1rem 0 1.8rem; }
figcaption { color: var(--soft); font-size: 0.9rem; margin: 0.4rem 0; }
figcaption b { color: var(--ink); }
img { display: block; width: 100%; height: auto; background: #ffffff; padding: 0.4rem; border-radius: 4px; }
.scroll { overflow-x: auto; }
.scroll img { min-width: 36rem; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; min-width: 24rem;
  overflow-wrap: normal; }
th, td { padding: 0.3rem 0.7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; }
th:first-child, .long, .text { text-align: left; }
td.long { white-space: normal; min-width: 18rem; }
thead th { border-bottom: 2px solid var(--line); background: var(--band); }
tbody tr:hover { background: var(--band); }
ul.plain { padding-left: 1.2rem; }
.warn { border-left: 4px solid #d55e00; padding: 0.1rem 0.9rem; background: var(--band); }
pre { overflow-x: auto; background: var(--band); padding: 0.6rem; font-size: 0.82rem; }
@media print { body { max-width: none; } nav { display: none; } }
"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as PNG bytes; ``alt`` says what it shows to those who cannot see it."""

    key: str
    title: str
    caption: str
    alt: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands below it, in this order."""

    key: str
    title: str
    paragraphs: Sequence[str] = ()
    bullets: Sequence[str] = ()
    warning: bool = False
    """Whether the bullets are problems."""
    parts: Sequence[Table | Picture] = ()


def page_html(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page. All text is plain text and is escaped here."""
    links = "".join(f"<li><a href='#{_text(part.key)}'>{_text(part.title)}</a></li>" for part in sections)
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n<link rel='icon' href='data:,'>\n"
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{_text(title)}</h1>\n"
        f"{_paragraphs(lead)}</header>\n<nav aria-label='Sections'><ul>{links}</ul></nav>\n<main>\n"
        + "\n".join(_section(section) for section in sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    parts = "\n".join(_picture(part) if isinstance(part, Picture) else table_html(part) for part in section.parts)
    bullets = "".join(f"<li>{_text(line)}</li>" for line in section.bullets)
    plain = f"<ul class='plain'>{bullets}</ul>" if bullets else ""
    listed = f"<div class='warn'>{plain}</div>" if plain and section.warning else plain
    body = f"{_paragraphs(section.paragraphs)}{listed}{parts}"
    return f"<section id='{_text(section.key)}'><h2>{_text(section.title)}</h2>{body}</section>"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f"<figure><div class='scroll'><img alt='{_text(picture.alt)}' src='data:image/png;base64,{data}'></div>"
        f"<figcaption><b>{_text(picture.title)}.</b> {_text(picture.caption)}</figcaption></figure>"
    )


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{_text(text)}</p>" for text in texts)


def _text(value: str) -> str:
    return html.escape(value, quote=True)
