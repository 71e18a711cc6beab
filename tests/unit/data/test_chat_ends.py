"""Where an answer of a chat template ends: the token that stops a model, and what stands behind it."""

from typing import Any

import pytest
import yaml

from plw.config.training import TemplateConfig
from plw.data.chat import ChatRenderer
from plw.data.encoding import IS_COMPLETION_R, encode
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord
from plw.data.render import Renderer
from plw.data.weights import WeightSpan
from plw.errors import UserError
from plw.paths import conf_folder
from plw.testing.tokenizers import byte_level_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}"
    "BEFORE{{ m['content'] }}<|im_end|>AFTER{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\nASK{% endif %}"
)
CHANNELS = (
    "{% for m in messages %}{% if m.tool_calls %}{% if m.content %}<|im_start|>analysis\n{{ m.content }}<|im_end|>"
    "{% endif %}<|im_start|>call\n{{ m.tool_calls[0].function.name }}{{ m.tool_calls[0].function.arguments | tojson }}"
    "END{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
"""As gpt-oss: what an answer says before it calls a tool is a message of its own, with an end."""
ASKED, ANSWER = ChatMessage(role="user", content="Say it."), ChatMessage(role="assistant", content="It.")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    made = byte_level_tokenizer()
    made.add_tokens(["<|im_start|>", "<|im_end|>", "<|turn|>"], special_tokens=True)
    return made


def marked(before: str = "", after: str = "", ask: str = "") -> str:
    return MARKED.replace("BEFORE", before).replace("AFTER", after).replace("ASK", ask)


def template(name: str) -> TemplateConfig:
    return TemplateConfig(**yaml.safe_load((conf_folder() / f"template/{name}.yaml").read_text()))


def renderer(tokenizer: Any, text: str) -> ChatRenderer:
    tokenizer.chat_template = text
    return ChatRenderer(tokenizer)


@pytest.mark.parametrize("text", [CHATML, marked()], ids=["found", "marked"])
def test_an_end_of_several_tokens_is_refused(tokenizer: Any, text: str) -> None:
    assert renderer(tokenizer, text).end_tokens == [tokenizer.convert_tokens_to_ids("<|im_end|>")]
    # SentencePiece's space belongs to a token that is not special, so that it stands at a text's beginning alone.
    from tokenizers import normalizers

    spaced = byte_level_tokenizer()
    spaced.backend_tokenizer.normalizer = normalizers.Prepend("_")
    spaced.add_tokens(["<|im_start|>", "<|im_end|>"])
    for other in (byte_level_tokenizer(), spaced):
        with pytest.raises(UserError, match=r"'<\|im_end\|>', of which the tokenizer makes \d+ tokens, so nothing"):
            renderer(other, text)


def test_templates_of_texts_end_in_eos_alone(tokenizer: Any) -> None:
    assert Renderer(template("alpaca"), tokenizer).end_tokens == []


@pytest.mark.parametrize("behind", ["", "\n", "<|turn|>", "<|turn|>\n"])
def test_words_of_a_completion_are_without_what_marks_enclose_behind_the_end(tokenizer: Any, behind: str) -> None:
    tokenizer.chat_template = marked(after=behind)
    made = Renderer(template("chat"), tokenizer)
    for words in ("It.", "", "a <|im_end|> b", "<|im_end|>"):
        (_, completion) = made.segments(AlpacaRecord(instruction="Say it.", output=words))
        assert completion.text == f"{words}<|im_end|>{behind}"
        assert made.words(completion) == words


@pytest.mark.parametrize(
    ("before", "ask", "is_refused"),
    [
        ("", "", False),
        ("<think>\n\n</think>\n\n", "", False),
        ("<think>\n\n</think>\n\n", "<think>\n", False),
        ("<think></think>", "<think>\n", True),
        ("", "<think>\n", True),
    ],
)
def test_a_marked_answer_begins_as_it_is_asked_for(tokenizer: Any, before: str, ask: str, is_refused: bool) -> None:
    """Reasoning models' templates ask with an open thought, and may write none before an answer of the data."""
    made = renderer(tokenizer, marked(before, ask=ask))
    record = ChatRecord(messages=(ASKED, ANSWER), where="d.json: row 4")
    if is_refused:
        with pytest.raises(UserError, match=r"d\.json: row 4: .* asks for the last answer after .*think>.*, where"):
            made.segments(record)
        return
    prompt, completion = made.segments(record)
    assert (prompt.text + completion.text).startswith(made.request([ASKED]))


def test_a_call_behind_the_end_of_the_words_is_not_left_out_in_silence(tokenizer: Any) -> None:
    made = renderer(tokenizer, CHANNELS.replace("END", "<|im_end|>"))
    call = {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]}
    called = ChatMessage(role="assistant", content="Let me look.", more=call)
    _, completion = made.segments(ChatRecord(messages=(ASKED, called)))
    assert completion.text.endswith('<|im_start|>call\nweather{"city": "Rome"}<|im_end|>')
    made = renderer(tokenizer, CHANNELS.replace("END", "<|turn|>"))
    _, completion = made.segments(ChatRecord(messages=(ASKED, called)))
    assert completion.text.endswith('<|im_start|>call\nweather{"city": "Rome"}<|turn|>')
    assert made.end_tokens == tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|turn|>"])
    made = renderer(tokenizer, CHANNELS.replace("END", ""))
    with pytest.raises(UserError, match=r"row 4: .* puts no end behind message 2, of the assistant; leave"):
        made.segments(ChatRecord(messages=(ASKED, called), where="d.json: row 4"))


LATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ '<|turn|>' if loop.last and m.role != 'user' "
    "else '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As gpt-oss: the answer that a conversation ends with has an end of its own."""


def test_a_last_answer_has_an_end_of_its_own(tokenizer: Any) -> None:
    tokenizer.chat_template = LATE
    made = Renderer(template("chat"), tokenizer)
    earlier, last = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|turn|>"])
    _, completion = made.segments(ChatRecord(messages=(ASKED, ANSWER)))
    assert (completion.text, made.words(completion)) == ("It.<|turn|>", "It.")
    assert made.end_tokens == [last], "no answer had the other"
    closed = "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}END{% endgeneration %}{% else %}"
    inner = "{{ m.content }}{{ '<|turn|>' if loop.last and m.role != 'user' else '<|im_end|>' }}"
    marks = LATE.replace(inner, closed.replace("END", inner.removeprefix("{{ m.content }}")) + inner + "{% endif %}")
    for text in (LATE, marks):
        tokenizer.chat_template = text
        made = Renderer(template("chat"), tokenizer)
        completions = made.segments(ChatRecord(messages=(ASKED, ANSWER, ASKED, ANSWER)))[1::2]
        assert [completion.text for completion in completions] == ["It.<|im_end|>", "It.<|turn|>"]
        assert [made.words(completion) for completion in completions] == ["It.", "It."]
        assert made.end_tokens == [last, earlier]


SPANS = [(0, 2, "Hi"), (0, 9, "Hi"), (3, 17, "</s>"), (9, 18, "</s>y"), (0, 17, "Hi</s>"), (17, 19, "yo"), (9, 12, "")]


@pytest.mark.parametrize(("start", "end", "weighed"), SPANS)
def test_a_stretch_that_ends_inside_a_marker_of_eos_weighs_nothing_behind_it(
    tokenizer: Any, start: int, end: int, weighed: str
) -> None:
    """It has the EOS if it has the marker's last letter."""
    text, marker = "Hi###eos_token###you", "###eos_token###"
    record = AlpacaRecord(
        instruction="a", output=text, spans=(WeightSpan(start=start, end=end, weight=3, field="output"),)
    )
    segments = Renderer(template("wit"), tokenizer).segments(record)
    (example,) = encode([segments], tokenizer, max_length=99, end_of_sequence=False, eos_marker=marker).examples
    assert example.weight_T is not None
    assert tokenizer.decode(example.token_T[example.weight_T == 3]).replace(" ", "") == weighed


def test_a_stretch_over_a_marker_that_a_chat_template_replaces_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    made = Renderer(template("wit-chat"), tokenizer)
    marker = made.template.eos_marker or ""

    def segments(end: int) -> Any:
        span = WeightSpan(start=0, end=end, weight=3, field="output")
        return made.segments(AlpacaRecord(instruction="a", output=f"Hi{marker}", spans=(span,), where="d.json: row 2"))

    (example,) = encode([segments(2)], tokenizer, max_length=99, end_of_sequence=False).examples
    assert example.weight_T is not None
    learned = IS_COMPLETION_R[example.role_T]
    assert set(example.weight_T[learned][:-1].tolist()) == {3.0}
    assert example.weight_T[-1] == 1, "the end has the message's"
    with pytest.raises(UserError, match=r"d\.json: row 2: a span from 0 to 9 reaches into the marker .* at 2"):
        segments(9)
