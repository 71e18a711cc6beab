"""Templates: fields land in their slots, chats alternate."""

from plw.config.training import TemplateConfig
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord
from plw.data.template import AlpacaTemplate, ChatTemplate, Segment, record_segments, request_text

CONFIG = TemplateConfig(
    name="t",
    with_input="I: {instruction}\nX: {input}\nR:",
    without_input="I: {instruction}\nR:",
    completion=" {output}",
)


def test_only_the_templates_own_slots_are_filled() -> None:
    record = AlpacaRecord(instruction="say {input} and {output} and {other}", input="{instruction}", output="{input}")
    assert AlpacaTemplate(CONFIG).segments(record) == [
        Segment("prompt", "I: say {input} and {output} and {other}\nX: {instruction}\nR:"),
        Segment("completion", " {input}"),
    ]


def test_an_empty_input_takes_the_other_prompt() -> None:
    record = AlpacaRecord(instruction="go", output="ok")
    assert record_segments(record, CONFIG)[0].text == "I: go\nR:"
    assert AlpacaTemplate(CONFIG).prompt("go") == "I: go\nR:"
    assert AlpacaTemplate(CONFIG).prompt("go", "now") == "I: go\nX: now\nR:"


def test_chat_alternates_and_only_the_assistant_is_learned() -> None:
    turns = [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", "d"),
        ("user", "left out"),
    ]
    record = ChatRecord(messages=tuple(ChatMessage(role=role, content=content) for role, content in turns))
    assert ChatTemplate().segments(record) == record_segments(record, CONFIG)
    assert ChatTemplate().segments(record) == [
        Segment("prompt", "<|system|>\ns\n<|user|>\na\n<|assistant|>\n"),
        Segment("completion", "b"),
        Segment("prompt", "\n<|user|>\nc\n<|assistant|>\n"),
        Segment("completion", "d"),
    ]


def test_a_benchmark_asks_in_the_form_of_the_training() -> None:
    alpaca = AlpacaRecord(instruction="go", input="now", output="x")
    assert request_text("go", "now", CONFIG, "alpaca") == AlpacaTemplate(CONFIG).segments(alpaca)[0].text
    assert request_text("go", "", CONFIG, "alpaca") == "I: go\nR:"
    chat = ChatRecord(
        messages=(ChatMessage(role="user", content="go\n\nnow"), ChatMessage(role="assistant", content="x"))
    )
    for form in ("chat", "turns"):
        assert request_text("go", "now", CONFIG, form) == ChatTemplate().segments(chat)[0].text
    assert request_text("go", "", CONFIG, "chat") == "<|user|>\ngo\n<|assistant|>\n"
