"""Templates: fields land in their slots, chats alternate."""

from dataclasses import replace

import pytest

from plw.config.training import TemplateConfig
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord
from plw.data.template import AlpacaTemplate, ChatTemplate, Segment, dialogue_text, record_segments, request_text
from plw.errors import UserError

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


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        (
            "without_input",
            "I: {instruction} {output}",
            r"without_input contains \{output\}; allowed there: \{instruction\}",
        ),
        (
            "with_input",
            "{system} {instruction} {input}",
            r"with_input contains \{system\}; allowed there: .* and \{input\}",
        ),
        ("without_input", "{instruction} {input}", r"without_input contains \{input\}"),
        ("completion", "{instruction}: {output}", r"completion contains \{instruction\}; allowed there: \{output\}"),
        ("eos_marker", "", "eos_marker is empty, and so stands everywhere"),
    ],
)
def test_a_slot_where_it_would_give_the_answer_away_or_be_empty(field: str, text: str, told: str) -> None:
    """An empty marker put EOS between all letters."""
    with pytest.raises(UserError, match=f"template.{told}"):
        replace(CONFIG, **{field: text})


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


def test_a_system_message_stands_before_a_request_as_in_the_training() -> None:
    for system in ("Be brief.", "", None):
        said = [*([] if system is None else [("system", system)]), ("user", "go\n\nnow"), ("assistant", "x")]
        chat = ChatRecord(messages=tuple(ChatMessage(role=role, content=content) for role, content in said))
        for template in (CONFIG, WIT):
            first = record_segments(chat, template)[0]
            assert request_text("go", "now", template, "chat", system) == first.text
    assert request_text("go", "", CONFIG, "alpaca", "Be brief.") == "I: Be brief.\n\ngo\nR:"


WIT = TemplateConfig(
    name="wit",
    with_input="{instruction}\n\n{input}",
    without_input="{instruction}",
    completion=" {output}",
    strip_prompt_space=True,
    turn_separator="\n\n",
)


def test_one_space_at_the_end_of_the_prompt_is_left_out() -> None:
    for instruction, prompt in (("go", "go"), ("go ", "go"), ("go  ", "go "), ("go\n", "go\n")):
        assert record_segments(AlpacaRecord(instruction=instruction, output=" ok"), WIT) == [
            Segment("prompt", prompt),
            Segment("completion", "  ok"),
        ]
        assert request_text(instruction, "", WIT, "alpaca") == prompt


def chat(*turns: str) -> ChatRecord:
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return ChatRecord(messages=tuple(ChatMessage(role=roles[turn[0]], content=turn) for turn in turns))


def test_a_chat_may_be_written_in_the_templates_own_texts() -> None:
    assert record_segments(chat("s1", "u1 ", "a1", "u2", "a2", "u3"), WIT) == [
        Segment("prompt", "s1\n\nu1"),
        Segment("completion", " a1"),
        Segment("prompt", "\n\nu2"),
        Segment("completion", " a2"),
    ]


def test_the_next_answer_of_a_dialogue_is_asked_for_as_chats_are_trained_on() -> None:
    record = chat("u1", "a1", "u2", "a2")
    for template in (WIT, CONFIG):
        first, answer, second, _ = record_segments(record, template)
        for form in ("chat", "turns"):
            asked = dialogue_text(["u1", "u2"], ["a1"], template, form, "<end>")
            assert asked == f"{first.text}{answer.text}<end>{second.text}"
            assert dialogue_text(["u1"], [], template, form) == first.text == request_text("u1", "", template, form)


def test_a_model_of_single_turns_is_asked_in_its_template_turn_after_turn() -> None:
    assert dialogue_text(["go", "on"], ["ok"], CONFIG, "alpaca", "</s>") == "I: go\nR: ok</s>\n\nI: on\nR:"
    assert dialogue_text(["go"], [], CONFIG, "alpaca") == "I: go\nR:"
