"""Templates whose answers end otherwise from message to message, beside conversations written by hand.

The templates are written for the test, with the constructs of their families: what ends a call, a last answer, an
earlier one; which token stands within an answer too; whose token ends an answer that nothing else does.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plw.data.chat import ChatRenderer
from plw.data.encoding import IS_COMPLETION_R, encode
from plw.data.records import ChatMessage, ChatRecord
from plw.errors import UserError
from plw.testing.tokenizers import byte_level_tokenizer

ARGUMENTS = "{{ c.function.arguments | tojson }}"
CHANNELS = (
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls[:1] %}<|start|>assistant"
    " to={{ c.function.name }}<|channel|>commentary<|message|>"
    + ARGUMENTS
    + "<|call|>{% endfor %}{% elif m.role == 'assistant' %}"
    "{% set last = loop.last and not add_generation_prompt %}{% if last and m.thinking %}<|start|>assistant<|channel|>"
    "analysis<|message|>{{ m.thinking }}<|end|>{% endif %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if last else '<|end|>' }}{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
NEXT_SPEAKER = (
    "[gMASK]<sop>{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n"
    "<think>{{ m.reasoning_content }}</think>{% if m.content %}{{ '\n' + m.content | trim }}{% endif %}"
    "{% for c in m.tool_calls or [] %}{{ '\n' }}<tool_call>{{ c.function.name }}\n"
    + ARGUMENTS
    + "\n</tool_call>{% endfor %}"
    "{% elif m.role == 'tool' %}{% if messages[loop.index0 - 1].role != 'tool' %}<|observation|>{% endif %}"
    "{{ '\n' + m.content }}{% else %}<|{{ m.role }}|>\n{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ONE_TURN = (
    "{% for m in messages %}{% set before = messages[loop.index0 - 1].role %}{% if m.role == 'assistant' %}"
    "{% if before != 'tool' %}<|turn>model\n{% endif %}{% for c in m.tool_calls or [] %}<|tool_call>"
    "{{ c.function.name }}"
    + ARGUMENTS
    + "<tool_call|>{% endfor %}{{ m.content }}{% if not m.tool_calls %}<turn|>\n{% elif loop.last %}"
    "<|tool_response>{% endif %}{% elif m.role == 'tool' %}<|tool_response>{{ m.content }}<tool_response|>{% else %}"
    "<|turn>{{ m.role }}\n{{ m.content }}<turn|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt and messages[-1].role != 'tool' %}<|turn>model\n{% endif %}"
)
END_OF_MESSAGE = (
    "{% for m in messages %}<|h|>{{ m.role }}\n{% for c in (m.tool_calls or [])[:1] %}"
    + ARGUMENTS
    + "<|eom|>{% endfor %}"
    "{% if not m.tool_calls %}{{ m.content }}<|eot|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|h|>assistant\n{% endif %}"
)
SECTIONS = (
    "{% for m in messages %}<|im_{{ m.role }}|>{{ m.content }}{% if m.tool_calls %}<|calls|>{% for c in m.tool_calls %}"
    "<|call|>{{ c.id }}<|arg|>" + ARGUMENTS + "<|call_end|>{% endfor %}<|calls_end|>{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_assistant|>{% endif %}"
)
OUTPUTS = (
    "{{ bos_token }}{% set ns = namespace(out=false) %}{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if not ns.out %}<|outputs|>{% endif %}{% set ns.out = true %}<|output|>{{ m.content }}<|output_end|>"
    "{% elif m.role == 'assistant' %}{{ '<|outputs_end|>' if ns.out else '<|Assistant|>' }}{% set ns.out = false %}"
    "{{ m.content }}{% if m.tool_calls %}<|calls|>{% for c in m.tool_calls %}<|call|>{{ c.function.name }}\n"
    + ARGUMENTS
    + "<|call_end|>{% endfor %}<|calls_end|>{% endif %}{{ eos_token }}{% else %}<|{{ m.role }}|>{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|outputs_end|>' if ns.out else '<|Assistant|>' }}"
    "{% endif %}"
)


class Turn(NamedTuple):
    """A message, what stands around it, and its calls' arguments as JSON."""

    message: ChatMessage
    before: str
    after: str
    calls: list[str]


class Piece(NamedTuple):
    """Of a message what is read, what is learned, and what is read behind it."""

    read: str
    words: str = ""
    end: str = ""
    behind: str = ""


def channels(turn: Turn) -> Piece:
    role, content = turn.message.role, turn.message.content
    if role != "assistant":
        return Piece(f"<|start|>{role}<|message|>{content}<|end|>")
    if turn.calls:
        words = f" to=weather<|channel|>commentary<|message|>{turn.calls[0]}"
        return Piece("<|start|>assistant", words, "<|call|>")
    thought = str(turn.message.more.get("thinking", ""))
    thought = f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant" if thought else ""
    # What ends a thought too ends no answer.
    end, behind = ("", "<|end|>") if turn.after else ("<|return|>", "")
    return Piece("<|start|>assistant", f"{thought}<|channel|>final<|message|>{content}", end, behind)


def next_speaker(turn: Turn) -> Piece:
    role, content = turn.message.role, turn.message.content
    if role == "assistant":
        words = f"\n<think>{turn.message.more.get('reasoning_content', '')}</think>" + f"\n{content}" * bool(content)
        words += "".join(f"\n<tool_call>weather\n{call}\n</tool_call>" for call in turn.calls)
        return Piece("<|assistant|>", words, "<|observation|>" if turn.calls else "<|user|>")
    is_said = turn.before == "assistant" or turn.before == role == "tool"
    tag = "" if is_said else f"<|{'observation' if role == 'tool' else role}|>"
    return Piece(f"{'' if turn.before else '[gMASK]<sop>'}{tag}\n{content}")


def one_turn(turn: Turn) -> Piece:
    role, content = turn.message.role, turn.message.content
    if role == "tool":
        return Piece(f"{'' if turn.before == 'assistant' else '<|tool_response>'}{content}<tool_response|>")
    if role != "assistant":
        return Piece(f"<|turn>{role}\n{content}<turn|>\n")
    calls = "".join(f"<|tool_call>weather{call}<tool_call|>" for call in turn.calls)
    end, behind = ("<|tool_response>", "") if calls else ("<turn|>", "\n")
    return Piece("" if turn.before == "tool" else "<|turn>model\n", calls + content, end, behind)


def end_of_message(turn: Turn) -> Piece:
    role, words = turn.message.role, turn.calls[0] if turn.calls else turn.message.content
    end = "<|eom|>" if turn.calls else "<|eot|>"
    return Piece(f"<|h|>{role}\n", words, end) if role == "assistant" else Piece(f"<|h|>{role}\n{words}{end}")


def sections(turn: Turn) -> Piece:
    role, content = turn.message.role, turn.message.content
    if role != "assistant":
        return Piece(f"<|im_{role}|>{content}<|im_end|>\n")
    calls = "".join(f"<|call|>c{number}<|arg|>{call}<|call_end|>" for number, call in enumerate(turn.calls))
    return Piece("<|im_assistant|>", content + f"<|calls|>{calls}<|calls_end|>" * bool(calls), "<|im_end|>", "\n")


def outputs(turn: Turn) -> Piece:
    role, content = turn.message.role, turn.message.content
    if role == "tool":
        return Piece(f"{'' if turn.before == 'tool' else '<|outputs|>'}<|output|>{content}<|output_end|>")
    if role != "assistant":
        return Piece(f"{'' if turn.before else '<s>'}<|{role}|>{content}")
    calls = "".join(f"<|call|>weather\n{call}<|call_end|>" for call in turn.calls)
    header = "<|outputs_end|>" if turn.before == "tool" else "<|Assistant|>"
    return Piece(header, content + f"<|calls|>{calls}<|calls_end|>" * bool(calls), "</s>")


class Family(NamedTuple):
    template: str
    write: Callable[[Turn], Piece]
    stops: list[str]
    """Of a call and of a last answer."""
    calls: int = 2
    """How many at once it takes."""
    thinks: str = ""


FAMILIES = {
    "gpt-oss": Family(CHANNELS, channels, ["<|call|>", "<|return|>"], 1, "thinking"),
    "GLM": Family(NEXT_SPEAKER, next_speaker, ["<|observation|>", "<|user|>"], 2, "reasoning_content"),
    "Gemma 4": Family(ONE_TURN, one_turn, ["<|tool_response>", "<turn|>"]),
    "Llama 3.1": Family(END_OF_MESSAGE, end_of_message, ["<|eom|>", "<|eot|>"], 1),
    "Kimi": Family(SECTIONS, sections, ["<|im_end|>", "<|im_end|>"]),
    "DeepSeek": Family(OUTPUTS, outputs, ["</s>", "</s>"]),
}
SPEAKERS = ["system", "user", "assistant", "tool"]
SPECIAL = {
    *re.findall(r"<[^<>{} ]+>|\[gMASK\]", "".join(family.template for family in FAMILIES.values())),
    *(f"<|{before}{speaker}|>" for speaker in SPEAKERS for before in ("", "im_")),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = byte_level_tokenizer(size=256)
    made.add_tokens(sorted(SPECIAL), special_tokens=True)
    return made


@st.composite
def conversations(draw: st.DrawFn, family: Family) -> ChatRecord:
    pieces = st.sampled_from(["a", " ", "weather", "é", '"', "user", *family.stops, "<|end|>"])
    texts = st.lists(pieces, min_size=1, max_size=4).map("".join).map(str.strip).filter(bool)

    def answer(calls: int, thinks: bool) -> ChatMessage:
        functions = [{"name": "weather", "arguments": {"q": draw(texts), "n": [draw(texts), 1]}} for _ in range(calls)]
        made = [{"id": f"c{i}", "type": "function", "function": function} for i, function in enumerate(functions)]
        more = {"tool_calls": made} if made else {family.thinks: draw(texts)} if family.thinks and thinks else {}
        speaks = not calls or (family.calls > 1 and draw(st.booleans()))
        return ChatMessage(role="assistant", content=draw(texts) if speaks else "", more=more)

    messages = [ChatMessage(role="system", content=draw(texts))] if draw(st.booleans()) else []
    turns = draw(st.lists(st.integers(0, family.calls), min_size=1, max_size=3))
    for number, calls in enumerate(turns):
        messages.append(ChatMessage(role="user", content=draw(texts)))
        if calls:
            messages.append(answer(calls, False))
            if number == len(turns) - 1 and draw(st.booleans()):
                break
            messages += [ChatMessage(role="tool", content=draw(texts)) for _ in range(calls)]
        messages.append(answer(0, number == len(turns) - 1 and draw(st.booleans())))
    return ChatRecord(messages=tuple(messages))


def pieces(family: Family, record: ChatRecord) -> list[Piece]:
    """The conversation by hand."""
    roles = ["", *(message.role for message in record.messages), ""]
    written = []
    for number, message in enumerate(record.messages):
        calls = [
            json.dumps(call["function"]["arguments"], ensure_ascii=False) for call in message.more.get("tool_calls", [])
        ]
        written.append(family.write(Turn(message, roles[number], roles[number + 2], calls)))
    return written


def check_learned(tokenizer: Any, family: Family, record: ChatRecord) -> None:
    tokenizer.chat_template = family.template
    made = ChatRenderer(tokenizer)
    segments = made.segments(record)
    written = pieces(family, record)
    said = [piece.words + piece.end for piece in written if piece.words]
    assert [segment.text for segment in segments if segment.role == "completion"] == said
    assert "".join(segment.text for segment in segments) == "".join(map("".join, written)).removesuffix("\n")
    (example,) = encode([segments], tokenizer, max_length=9999, end_of_sequence=False, fine_roles=True).examples
    is_learned_T = IS_COMPLETION_R[example.role_T]
    assert tokenizer.decode(example.token_T[is_learned_T], skip_special_tokens=False) == "".join(said)
    asked = made.request(record.messages[:-1])
    assert asked == "".join(segment.text for segment in segments[:-1]), "a model is asked as it was trained"
    ends = {piece.end for piece in written if piece.end} | {family.stops[1]}
    assert sorted(made.end_tokens) == sorted(tokenizer.convert_tokens_to_ids(list(ends)))


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_learned_are_the_assistants_words_and_their_own_end(
    tokenizer: Any, name: str, data: st.DataObject
) -> None:
    check_learned(tokenizer, FAMILIES[name], data.draw(conversations(FAMILIES[name])))


U, A, T = (ChatMessage(role=role, content="b") for role in ("user", "assistant", "tool"))
BESIDE = (
    "{% for m in messages %}{% if m.role == 'user' %}<|turn>user\n{{ m.content }}<turn|>\n<|turn>model\n"
    "{% elif m.role == 'assistant' %}{% for c in m.tool_calls or [] %}<|tool_call>{{ c.function.name }}"
    + ARGUMENTS
    + "<tool_call|>{% if not loop.last or m == messages[-1] %}<|tool_response>{% endif %}{% endfor %}"
    "{% if m.tool_calls and m != messages[-1] %}{{ messages[loop.index0 + 1].content }}<tool_response|>{% endif %}"
    "{{ m.content }}{% if m != messages[-1] or not m.tool_calls %}<turn|>\n{% endif %}{% endif %}{% endfor %}"
)
"""As Gemma 4: what is said beside a call is written behind the tool's result."""


def calling(content: str = "", calls: int = 1) -> ChatMessage:
    functions = [{"name": "weather", "arguments": {"q": f"a{number}"}} for number in range(calls)]
    made = [{"id": "c0", "type": "function", "function": function} for function in functions]
    return ChatMessage(role="assistant", content=content, more={"tool_calls": made})


REFUSED = {
    "the next asks for an answer": (NEXT_SPEAKER, [U, A, A], "puts no end behind message 2, of the assistant"),
    "words behind a tool's": (BESIDE, [U, calling("c"), T, A], "writes message 2, .*, in part behind the words of the"),
    "the first call alone": (CHANNELS, [U, calling(calls=2)], r"does not write tool_calls\[1\] of message 2; leave"),
    "the next begins a text": (
        "{% for m in messages %}<s>{{ m.content }}{% endfor %}",
        [U, A],
        "no end after an answer",
    ),
    "marks without an end": (
        "{% for m in messages %}{% generation %}{{ m.content }}{% for c in m.tool_calls or [] %}<|call|>"
        + ARGUMENTS
        + "<|call_end|>{% endfor %}{% if not m.tool_calls %}<|eot|>{% endif %}{% endgeneration %}{% endfor %}",
        [calling()],
        "puts no end behind message 1, of the assistant",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_end_that_cannot_be_told_is_refused_in_a_line(tokenizer: Any, case: str) -> None:
    tokenizer.chat_template, messages, line = REFUSED[case]
    with pytest.raises(UserError, match=line) as refusal:
        ChatRenderer(tokenizer).segments(ChatRecord(messages=tuple(messages), where="d.json: row 4"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "token"),
    [("gpt-oss", "<|message|>"), ("GLM", "</think>"), ("Gemma 4", None), ("Llama 3.1", None), ("DeepSeek", None)],
)
def test_the_words_of_an_answer_begin_behind_its_thought_and_header(
    tokenizer: Any, name: str, token: str | None
) -> None:
    tokenizer.chat_template = FAMILIES[name].template
    thought = {FAMILIES[name].thinks: "hm"} if FAMILIES[name].thinks else {}
    made = ChatRenderer(tokenizer)
    assert made.before_words == (None if token is None else tokenizer.convert_tokens_to_ids(token))
    for messages in ([U, A], [U, A, U, A], [U, ChatMessage(role="assistant", content="b", more=thought)]):
        for completion in made.segments(ChatRecord(messages=tuple(messages)))[1::2]:
            assert made.words(completion).strip() == "b"


def test_an_end_between_answers_alone_is_put_behind_the_last_one(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{{ ' = ' if m.role == 'user' else '' if loop.last else eos_token }}"
        "{% endfor %}"
    )
    segments = ChatRenderer(tokenizer).segments(ChatRecord(messages=(U, A, U, A)))
    assert [segment.text for segment in segments] == ["b = ", "b</s>"] * 2


def test_an_answer_may_be_marked_in_pieces(tokenizer: Any) -> None:
    """As TRL's templates of Phi 3 and Gemma mark it: its words, its end, and what was not thought."""
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.thinking }}"
        "{% endgeneration %}{% generation %}{{ m.content }}{% endgeneration %}{% generation %}<|eot|>"
        "{% endgeneration %}{% endif %}{% endfor %}"
    )
    segments = ChatRenderer(tokenizer).segments(ChatRecord(messages=(U, A, U, A)))
    assert [segment.text for segment in segments] == ["b", "b<|eot|>"] * 2


def test_a_tools_name_in_what_it_returns_is_not_taken_for_a_call(tokenizer: Any) -> None:
    """Where lengths are written no private character tells where words and calls stand."""
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_{{ m.role }}|>{{ m.content | length }} {{ m.content }}"
        "{% for c in m.tool_calls or [] %}<|call|>{{ (c.function.arguments | tojson) | length }}<|call_end|>"
        "{% endfor %}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_assistant|>{% endif %}"
    )
    result = ChatMessage(role="tool", content="weather: dry")
    segments = ChatRenderer(tokenizer).segments(ChatRecord(messages=(U, calling(), result, A)))
    assert [segment.text for segment in segments[1::2]] == ["0 <|call|>11<|call_end|><|im_end|>", "1 b<|im_end|>"]
