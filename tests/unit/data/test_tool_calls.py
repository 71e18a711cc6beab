"""Tool calls in a chat template: arguments as JSON whatever the data have, and templates of their own for tools."""

import json
from typing import Any

import pytest

from plw.data.chat import ChatRenderer
from plw.data.records import ChatRecord, parse_rows
from plw.errors import UserError
from plw.testing.tokenizers import byte_level_tokenizer

CALL = '<call>{"name": "{{ c.function.name }}", "arguments": ARGUMENTS}</call>'
CHAT = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content or '' }}{% for c in m.tool_calls or [] %}" + CALL + "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WRITERS = {
    "as JSON": "{{ c.function.arguments | tojson }}",
    "as a text": "{{ '' + c.function.arguments }}",
    "as it is": "{{ c.function.arguments }}",
    "of either kind": "{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}",
}
ARGUMENTS: dict[str, Any] = {"city": "Zürich", "days": [1, 2], "hourly": True}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


@pytest.fixture(scope="module")
def bare() -> Any:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    return tokenizer


def calling(arguments: Any, **fields: Any) -> ChatRecord:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    row = {
        "messages": [
            {"role": "user", "content": "Rain?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "dry", "tool_call_id": "1"},
            {"role": "assistant", "content": "No."},
        ],
        "tools": TOOLS,
        **fields,
    }
    (record,) = parse_rows([("d.jsonl: row 1", row)], "chat")
    assert isinstance(record, ChatRecord)
    return record


def answers(tokenizer: Any, template: Any, record: ChatRecord) -> list[str]:
    tokenizer.chat_template = template
    return [segment.text for segment in ChatRenderer(tokenizer).segments(record) if segment.role == "completion"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("form", ["objects", "texts"])
def test_arguments_are_json_whatever_data_and_template_have(bare: Any, writer: str, form: str) -> None:
    """OpenAI's are texts: a template that writes JSON would escape them, one that joins texts fails on an object."""
    given = ARGUMENTS if form == "objects" else json.dumps(ARGUMENTS, ensure_ascii=False)
    called, said = answers(bare, CHAT.replace("ARGUMENTS", WRITERS[writer]), calling(given))
    written = called.removeprefix("<call>").removesuffix("</call><|im_end|>")
    assert json.loads(written) == {"name": "weather", "arguments": ARGUMENTS}
    assert said == "No.<|im_end|>"


def test_a_template_for_tools_and_one_without_are_each_read_for_their_marks(bare: Any) -> None:
    plain = CHAT.replace("ARGUMENTS", WRITERS["as JSON"])
    marked = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content or '' }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    )
    called, said = answers(bare, {"default": marked, "tool_use": plain}, calling(ARGUMENTS))
    assert json.dumps(ARGUMENTS, ensure_ascii=False) in called
    assert said == "No.<|im_end|>"
    with pytest.raises(UserError, match="chat templates tool_use and none named default"):
        answers(bare, {"tool_use": plain}, calling(ARGUMENTS))


def test_a_call_that_is_not_read_is_refused() -> None:
    """OpenAI's older form, beside an empty content: the answer would be learned as empty."""
    call = {"name": "weather", "arguments": "{}"}
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "function_call": call}]
    with pytest.raises(UserError, match="message 2 has function_call, which is not read; write it as tool_calls"):
        calling(ARGUMENTS, messages=messages)
