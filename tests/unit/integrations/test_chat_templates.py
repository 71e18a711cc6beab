"""Answers that `template=chat` finds in templates of families, beside those that TRL marks in its copies of them."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from plw.data.chat import ChatRenderer
from plw.data.records import parse_rows
from plw.testing.tokenizers import byte_level_tokenizer

CALL = {"id": "callcall1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}}
TALK = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yo."},
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": "No."},
]
CALLING = [
    TALK[2],
    {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
    {"role": "tool", "content": "dry", "tool_call_id": "callcall1", "name": "weather"},
    TALK[3],
]
FAMILIES = {
    "glm4moe": True,
    "qwen2_5": True,
    "qwen3_vl": True,
    "qwen3_instruct_2507": True,
    "lfm2_v2": True,
    "llama3": False,
    "gemma3": False,
}
"""Whether its template writes calls."""


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_without_marks_are_those_that_trl_marks(family: str) -> None:
    spec = find_spec("trl")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "chat_templates"
    rows: list[dict[str, Any]] = [{"messages": TALK}]
    rows += [{"messages": CALLING, "tools": [TOOL]}] if FAMILIES[family] else []
    records = parse_rows([(f"row {number}", row) for number, row in enumerate(rows, 1)], "chat")
    found = {}
    for name in (family, f"{family}_training"):
        tokenizer: Any = byte_level_tokenizer(size=256)
        tokenizer.chat_template = (folder / f"{name}.jinja").read_text()
        tokens = re.findall(r"<\|?[a-z_]+\|?>|</[a-z_]+>|\[gMASK\]", tokenizer.chat_template)
        tokenizer.add_tokens(sorted(set(tokens)), special_tokens=True)
        made = ChatRenderer(tokenizer)
        segments = [segment for record in records for segment in made.segments(record)]
        # Of the line breaks beside an answer some marks enclose one.
        answers = [segment.text.strip() for segment in segments if segment.role == "completion"]
        found[name] = (answers, made.end_tokens)
    assert found[family] == found[f"{family}_training"]
