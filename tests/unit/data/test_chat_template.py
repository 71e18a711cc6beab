"""The tokenizer's own chat template: what is learned is exactly the assistant's words and their end.

The templates here are written for the test, with the constructs of ten families: where BOS, headers and ends stand,
what is stripped, what moves, what is refused.
"""

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plw.config.loss import ROLES
from plw.config.training import TemplateConfig
from plw.data.chat import ChatRenderer
from plw.data.encoding import IS_COMPLETION_R, encode
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord
from plw.data.render import Renderer
from plw.data.weights import WeightSpan
from plw.errors import UserError
from plw.paths import conf_folder
from plw.testing.tokenizers import byte_level_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|head|>{{ m['role'] }}<|headend|>\n\n{{ m['content'"
    "] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|headend|>\n\n{% endif %}"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + CHATML
THINKING = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% if loop.index0 > ns.last %}<think>\n\n</think>\n\n"
    "{% endif %}{{ m['content'].split('</think>')[-1].lstrip('\n') }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not"
    " supported') }}{% endif %}"
    "{% for m in messages %}<turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ "
    "m['content'] | trim }}<endturn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
SYSTEM_IN_USER = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}{% for m in messages %}<turn>"
    "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ first if loop.first else '' }"
    "}{{ m['content'] | trim }}"
    "<endturn>\n{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}"
    "{% else %}{{ m['content'] }}\n{% endif %}{% endfor %}"
)
LATE_EOS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
TAGS_EOS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
EOS_OF_ANSWERS = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
    "{{ '' if loop.last else '\n' }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}"
    "<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FAMILIES = {
    "Llama 3": (HEADERS, "<|eot|>"),
    "ChatML": (CHATML, "<|im_end|>"),
    "Qwen 2.5, SmolLM2": (DEFAULT_SYSTEM, "<|im_end|>"),
    "Qwen 3": (THINKING, "<|im_end|>"),
    "Gemma 2": (TURNS, "<endturn>"),
    "Gemma 3": (SYSTEM_IN_USER, "<endturn>"),
    "Mistral": (BRACKETS, "</s>"),
    "Phi 3": (LATE_EOS, "<|end|>"),
    "Zephyr": (TAGS_EOS, "</s>"),
    "Tulu": (EOS_OF_ANSWERS, "</s>"),
    "with marks": (MARKED, "<|im_end|>"),
}
SPECIAL = ["<|head|>", "<|headend|>", "<|eot|>", "<|im_start|>", "<|im_end|>", "<turn>", "<endturn>", "<|end|>"]


@pytest.fixture(scope="module")
def bare() -> "PreTrainedTokenizerBase":
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(SPECIAL, special_tokens=True)
    return tokenizer


def chat(*turns: str, **fields: Any) -> ChatRecord:
    """Turns as `u:words`."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    made = [ChatMessage(role=roles[turn[0]], content=turn[2:]) for turn in turns]
    return ChatRecord(messages=tuple(made), **fields)


def renderer(tokenizer: Any, template: str) -> ChatRenderer:
    tokenizer.chat_template = template
    return ChatRenderer(tokenizer)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_learned_is_the_assistants_words_and_their_end(bare: Any, family: str) -> None:
    template, end = FAMILIES[family]
    made = renderer(bare, template)
    assert made.end_tokens == [bare.convert_tokens_to_ids(end)]
    turns = ["u:Name a colour.", "a: Red, say 12.\n", "u:One more", "a:Blue", "u:left out"]
    system = [] if family == "Gemma 2" else ["s:Be brief."]
    for record in (chat(*turns), chat(*system, *turns), chat("u:a", "a:b")):
        segments = made.segments(record)
        (example,) = encode([segments], bare, max_length=512, end_of_sequence=False).examples
        whole = bare.apply_chat_template(
            [{"role": m.role, "content": m.content} for m in record.messages if m.content != "left out"], tokenize=False
        )
        assert "".join(segment.text for segment in segments) == whole[: whole.rindex(end) + len(end)]
        learned = bare.decode(example.token_T[IS_COMPLETION_R[example.role_T]])
        answers = [message.content for message in record.messages if message.role == "assistant"]
        for answer in answers:
            assert answer.strip() in learned
        expected = "".join(answer.strip() + end for answer in answers)
        assert learned.replace("<think>\n\n</think>\n\n", "").replace(" ", "").replace("\n", "") == expected.replace(
            " ", ""
        )
        assert np.count_nonzero(example.token_T == bare.bos_token_id) == 1, "BOS stands once"
        assert example.token_T[0] == bare.bos_token_id


def test_wits_data_in_a_chat_template(bare: Any) -> None:
    """One end behind each answer, whether the data marks one or not; inside an answer the marker is EOS."""
    bare.chat_template = TAGS_EOS
    made = Renderer(TemplateConfig(**yaml.safe_load((conf_folder() / "template/wit-chat.yaml").read_text())), bare)
    marker = made.template.eos_marker
    for record in (
        AlpacaRecord(instruction="Say hi ", output=f"Hi{marker}"),
        AlpacaRecord(instruction="Say hi", output="Hi"),
        chat("u:Say hi", f"a:Hi{marker}"),
    ):
        texts = [segment.text for segment in made.segments(record)]
        assert texts == ["<|user|>\nSay hi</s>\n<|assistant|>\n", "Hi</s>"]
    assert made.request("Say hi ", "", "alpaca") == texts[0]
    inside = made.segments(AlpacaRecord(instruction="a", output=f"b{marker}c"))
    (example,) = encode([inside], bare, max_length=64, end_of_sequence=False, eos_marker=marker).examples
    assert bare.decode(example.token_T[IS_COMPLETION_R[example.role_T]]).replace(" ", "") == "b</s>c</s>"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_asked_as_it_was_trained(bare: Any, family: str) -> None:
    """What a request ends with is what stands before the answer in training, several turns on too."""
    made = renderer(bare, FAMILIES[family][0])
    first, answer, second, _ = made.segments(chat("u:go", "a:gone", "u:on", "a:done"))
    messages = chat("u:go", "a:gone", "u:on").messages
    assert made.request(messages[:1]) == first.text
    assert made.request(messages) == first.text + answer.text + second.text
    template = TemplateConfig(
        name="chat",
        kind="chat",
        with_input="{instruction}: {input}",
        without_input="{instruction}",
        end_of_sequence=False,
    )
    written = Renderer(template, bare)
    assert written.request("go", "", "alpaca") == written.request("go", "", "sharegpt") == first.text
    assert written.dialogue(["go", "on"], ["gone"], "alpaca") == made.request(messages)
    alone = made.segments(chat("u:go: now", "a:gone"))
    segments = written.segments(AlpacaRecord(instruction="go", input="now", output="gone"))
    assert segments == alone
    assert written.words(segments[1]).strip() in ("gone", "<think>\n\n</think>\n\ngone")


def test_roles_of_a_rendered_conversation(bare: Any) -> None:
    made = renderer(bare, THINKING)
    record = chat("s:Be brief.", "u:Go", "a:<think>hm</think>Gone", "t:12", "u:On", "a:Done")
    (example,) = encode([made.segments(record)], bare, max_length=512, end_of_sequence=False, fine_roles=True).examples
    words = {role: bare.decode(example.token_T[example.role_T == place]) for place, role in enumerate(ROLES)}
    assert words["system"] == "Be brief."
    assert words["user"].replace(" ", "") == "GoOn"
    assert words["tool"] == "12"
    assert words["thinking"] == "<think>\n\n</think>\n\n"
    assert words["assistant"] == "Gone<|im_end|>Done<|im_end|>", "earlier thoughts are stripped, as at inference"


def test_weights_of_messages_and_spans_follow_the_words(bare: Any) -> None:
    made = renderer(bare, HEADERS)
    messages = (
        ChatMessage(role="user", content=" aaa", weight=0.5),
        ChatMessage(role="assistant", content="bbb ccc", weight=2, spans=(WeightSpan(start=4, end=7, weight=3),)),
    )
    (example,) = encode(
        [made.segments(ChatRecord(messages=messages))], bare, max_length=99, end_of_sequence=False
    ).examples
    found = dict(zip(bare.convert_ids_to_tokens(example.token_T.tolist()), example.weight_T.tolist(), strict=True))
    assert (found["a"], found["b"], found["c"], found["<|eot|>"]) == (0.5, 2.0, 6.0, 2.0)


KEPT_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}"
    "\n</think>\n\n{% endif %}{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BEGUN_THINKING = CHATML.removesuffix("{% endif %}") + "<think>\n{% endif %}"
NO_SYSTEM = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
LOUD = CHATML.replace("{{ m['content'] }}", "{{ m['content'] | upper if m['role'] == 'user' else m['content'] }}")


def weighed(tokenizer: Any, template: str, *messages: ChatMessage) -> tuple[str, list[tuple[str, str, float]]]:
    """The whole text, and of each of its stretches with one role and weight the text, the role and the weight."""
    segments = renderer(tokenizer, template).segments(ChatRecord(messages=messages))
    (example,) = encode([segments], tokenizer, max_length=512, end_of_sequence=False, fine_roles=True).examples
    weights = np.ones(len(example.token_T)) if example.weight_T is None else example.weight_T
    kinds = [(ROLES[role], weight) for role, weight in zip(example.role_T.tolist(), weights.tolist(), strict=True)]
    runs = [list(run) for _, run in itertools.groupby(range(len(kinds)), key=lambda place: kinds[place])]
    decoded = [(tokenizer.decode(example.token_T[run]), *kinds[run[0]]) for run in runs if kinds[run[0]][0] != "bos"]
    return "".join(text for text, _, _ in decoded), decoded


@pytest.mark.parametrize("words", ["user", "s", "kind", "<|im", "assistant", "e k", "Be kind.", "1", "\U00100000"])
@pytest.mark.parametrize("template", [DEFAULT_SYSTEM, KEPT_THINKING], ids=["default system", "trimmed"])
def test_words_that_also_stand_in_the_template_are_the_users_own(bare: Any, template: str, words: str) -> None:
    answered = ChatMessage(role="assistant", content=words)
    asked = ChatMessage(role="user", content=words, weight=0.5)
    _, found = weighed(bare, template, asked, answered, asked, answered)
    assert [text for text, role, _ in found if role == "user"] == [words, words]
    assert {weight for _, role, weight in found if role == "user"} == {0.5}
    assert [text for text, role, _ in found if role == "assistant"] == [f"{words}<|im_end|>"] * 2


PIECES = ["user", "assistant", "<|im_end|>", "<|im_start|>", " ", "\n", "a", "Be kind.", "é", "\U00100001", "[I]", "1"]


@st.composite
def conversations(draw: st.DrawFn) -> ChatRecord:
    def message(role: str) -> ChatMessage:
        content = "".join(draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5)))
        start = draw(st.integers(0, len(content) - 1))
        span = WeightSpan(
            start=start, end=draw(st.integers(start + 1, len(content))), weight=draw(st.sampled_from([0, 3]))
        )
        weight = draw(st.sampled_from([0.5, 1.0, 2.0]))
        return ChatMessage(role=role, content=content, weight=weight, spans=draw(st.sampled_from([(), (span,)])))

    roles = [*draw(st.sampled_from([[], ["system"]])), *draw(st.lists(st.sampled_from(["user", "tool"]), min_size=1))]
    roles += draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=4))
    return ChatRecord(
        messages=tuple(message(role) for role in [*roles, "assistant"]), weight=draw(st.sampled_from([1, 4]))
    )


@settings(max_examples=150)
@given(record=conversations())
def test_roles_and_weights_by_hand(bare: Any, record: ChatRecord) -> None:
    """Each letter of ChatML's text has the role and weight that it is written with here; a token has its last one's."""
    text, roles, weights = "", [], []
    for message in record.messages:
        head, is_answer = f"<|im_start|>{message.role}\n", message.role == "assistant"
        own = np.full(len(message.content), record.weight * message.weight)
        for span in message.spans:
            own[span.start : span.end] *= span.weight
        answered = record.weight * (message.weight if is_answer else 1.0)
        text += head + message.content + "<|im_end|>\n"
        roles += ["template"] * len(head) + [message.role] * len(message.content)
        roles += [message.role if is_answer else "template"] * len("<|im_end|>") + ["template"]
        weights += [record.weight] * len(head) + own.tolist() + [answered] * len("<|im_end|>") + [record.weight]
    segments = renderer(bare, CHATML).segments(record)
    (example,) = encode([segments], bare, max_length=999, end_of_sequence=False, fine_roles=True).examples
    assert "".join(segment.text for segment in segments) == text.removesuffix("\n")
    offsets = bare(text.removesuffix("\n"), add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    last = [max(start, end - 1) for start, end in offsets]
    found = np.ones(len(example.token_T)) if example.weight_T is None else example.weight_T
    assert found[1:].tolist() == [weights[place] for place in last]
    for number, place in enumerate(last, start=1):
        role = roles[place]
        # A token that begins in an answer's header belongs to the prompt, whatever its last letter.
        crosses = IS_COMPLETION_R[ROLES.index(role)] != IS_COMPLETION_R[example.role_T[number]]
        assert crosses or ROLES[example.role_T[number]] == role, (text, number)


@pytest.mark.parametrize(
    ("content", "span", "seven"),
    [
        ("\n\none", (0, 5), "one"),
        ("\n\none", (0, 2), ""),
        ("one two ", (4, 8), "two"),
        ("two one two", (8, 11), "two"),
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_stretches_follow_the_words_and_not_the_space_that_a_template_strips(
    bare: Any, role: str, content: str, span: tuple[int, int], seven: str
) -> None:
    weighted = ChatMessage(role=role, content=content, spans=(WeightSpan(start=span[0], end=span[1], weight=7),))
    other = ChatMessage(role="assistant" if role == "user" else "user", content="one two")
    for template, kept in ((KEPT_THINKING, seven), (CHATML, content[slice(*span)])):
        messages = (weighted, other) if role == "user" else (other, weighted)
        _, found = weighed(bare, template, *messages)
        assert "".join(text for text, _, weight in found if weight == 7).strip(" ") == kept.strip(" ")
        assert {own for _, own, weight in found if weight == 7} <= {role}


def test_a_stretch_of_an_answer_is_not_looked_for_in_its_thinking(bare: Any) -> None:
    asked, five = ChatMessage(role="user", content="q"), (WeightSpan(start=0, end=5, weight=5),)
    thought = ChatMessage(role="assistant", content="Paris", spans=five, more={"reasoning_content": "It is Paris."})
    _, found = weighed(bare, KEPT_THINKING, asked, thought)
    assert ("Paris", "assistant", 5.0) in found
    assert ("<think>\nIt is Paris.\n</think>\n\n", "thinking", 1.0) in found
    inside = ChatMessage(
        role="assistant", content="<think>Paris</think>Paris", spans=(WeightSpan(start=7, end=25, weight=5),)
    )
    _, found = weighed(bare, CHATML, asked, inside)
    assert [run for run in found if run[1] in ("thinking", "assistant")] == [
        ("<think>", "thinking", 1.0), ("Paris</think>", "thinking", 5.0),
        ("Paris", "assistant", 5.0), ("<|im_end|>", "assistant", 1.0),
    ]  # fmt: skip


def test_thinking_that_the_prompt_begins_is_thinking(bare: Any) -> None:
    answer = ChatMessage(role="assistant", content="<think>\nhm\n</think>\n\nx")
    _, found = weighed(bare, BEGUN_THINKING, ChatMessage(role="user", content="q"), answer)
    assert found[-2:] == [("hm\n</think>\n\n", "thinking", 1.0), ("x<|im_end|>", "assistant", 1.0)]


def test_bos_before_a_later_turn_is_bos_where_the_tokenizer_has_it_in_front(bare: Any) -> None:
    bare.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    )
    segments = ChatRenderer(bare).segments(chat("u:q", "a:a", "u:r", "a:b"))
    (example,) = encode([segments], bare, max_length=99, end_of_sequence=False, fine_roles=True).examples
    is_bos_T = example.token_T == bare.bos_token_id
    assert is_bos_T.sum() == 2
    assert (is_bos_T == (example.role_T == ROLES.index("bos"))).all()


def test_a_request_has_its_system_message_or_is_refused(bare: Any) -> None:
    config = TemplateConfig(**yaml.safe_load((conf_folder() / "template/chat.yaml").read_text()))

    def asked(template: str, system: str) -> str:
        bare.chat_template = template
        return Renderer(config, bare).request("Say it.", "", "chat", system, "p.json: row 3")

    for template in (CHATML, DEFAULT_SYSTEM, SYSTEM_IN_USER, HEADERS, MARKED):
        assert "Be brief." in asked(template, "Be brief.")
        assert "Be kind." in asked(template, "Be kind."), "which one of them writes by itself"
    for template, words in (
        (NO_SYSTEM, r"p\.json: row 3: .* leaves out the system message; put its words into the instruction"),
        (TURNS, r"p\.json: row 3: .* refuses the conversation \(System role not supported\)"),
    ):
        with pytest.raises(UserError, match=words):
            asked(template, "Be brief.")
    made = renderer(bare, CHATML)
    bare.chat_template = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('None') }}{% endif %}" + CHATML
    said = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="q")]
    assert "Be brief." in made.request(said), "of a template that needs one"


def test_what_a_template_does_not_write_is_refused(bare: Any) -> None:
    def refused(template: str, *messages: ChatMessage, **fields: Any) -> str:
        with pytest.raises(UserError) as caught:
            renderer(bare, template).segments(ChatRecord(messages=messages, where="d.json: row 4", **fields))
        return str(caught.value)

    asked, answer = ChatMessage(role="user", content="q"), ChatMessage(role="assistant", content="a")
    called = ChatMessage(role="assistant", content="", more={"tool_calls": [{"function": {"name": "f"}}]})
    thought = ChatMessage(role="assistant", content="a", more={"reasoning_content": "hm"})
    assert "does not write tool_calls of message 2;" in refused(CHATML, asked, called)
    assert "does not write tools;" in refused(CHATML, asked, answer, tools=({"name": "f"},))
    assert "does not write reasoning_content of message 2;" in refused(CHATML, asked, thought)
    assert "leaves out message 1, of the system" in refused(
        NO_SYSTEM, ChatMessage(role="system", content="s"), asked, answer
    )
    assert "begins with an answer" in refused(CHATML, answer, asked, answer)
    loud = ChatMessage(role="user", content="q", spans=(WeightSpan(start=0, end=1, weight=2),))
    assert "changes the words of message 1, of the user" in refused(LOUD, loud, answer)
    made = renderer(bare, KEPT_THINKING)
    assert "<think>" not in made.segments(ChatRecord(messages=(asked, answer, asked, answer)))[1].text
    assert "<think>" in made.segments(ChatRecord(messages=(asked, thought, asked, answer)))[1].text
    empty = ChatMessage(role="system", content="", weight=0.5)
    assert made.segments(ChatRecord(messages=(empty, asked, answer)))[1].text == "a<|im_end|>"
    written = Renderer(TemplateConfig(**yaml.safe_load((conf_folder() / "template/alpaca.yaml").read_text())), bare)
    for messages, fields in (
        ((asked, called), {}),
        ((asked, thought), {}),
        ((asked, answer), {"tools": ({"name": "f"},)}),
    ):
        with pytest.raises(UserError, match="template=alpaca does not write"):
            written.segments(ChatRecord(messages=messages, **fields))


MOVING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[I]{{ 'S' if loop.last else '' }}{{ m['content'] }}[/I]"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}</s>{% endif %}{% endfor %}"
)


def test_templates_that_cannot_be_learned_from_are_refused_in_a_line(bare: Any) -> None:
    def refused(template: str | None, record: ChatRecord) -> str:
        with pytest.raises(UserError) as caught:
            renderer(bare, template).segments(record)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    two = chat("u:a", "a:b", "u:c", "a:d", where="d.json: row 4")
    assert "has no chat template" in refused(None, two)
    assert "puts no end after an answer" in refused("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", two)
    moved = refused(MOVING, two)
    assert "d.json: row 4" in moved
    assert "message 2" in moved
    assert "{% generation %}" in moved
    assert "System role not supported" in refused(TURNS, chat("s:x", "u:a", "a:b"))
    assert "refuses the conversation" in refused("{{ messages[5]['content'] }}", two)
    assert "refuses the conversation (TemplateError)" in refused("{{ raise_exception('') }}", two), "it gives no reason"
    assert "does not write a message's text" in refused(CHATML.replace("m['content']", "m['content'] | upper"), two)


def test_a_template_that_takes_no_other_conversation_still_tells_its_words(bare: Any) -> None:
    """It refuses what white space is tried on, a message of a tool behind an answer."""
    strict = "{% if messages | selectattr('role', 'eq', 'tool') | list and messages | length == 3 %}" + (
        "{{ raise_exception('no call') }}{% endif %}"
    )
    messages = [ChatMessage(role=role, content=f" {role} ") for role in ("user", "tool", "user", "user", "assistant")]
    _, found = weighed(bare, strict + CHATML, *messages)
    assert [text.strip(" ") for text, role, _ in found if role == "tool"] == ["tool"]
    assert [text.strip(" ") for text, role, _ in found if role == "user"] == ["user"] * 3


@pytest.mark.parametrize(
    ("dated", "written"),
    [
        ("{% if not date_string is defined %}{% set date_string = strftime_now('%d') %}{% endif %}{{ date_string }}\n",
         "26 Jul 2024\n"),
        ("{{ strftime_now('%d %B %Y') }}\n", "26 July 2024\n"),
        ("{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}\n  {% set year = day()[:4] %}{{ day() }}\n",
         "2024-07-26\n"),
    ],
)  # fmt: skip
def test_dates_of_today_are_not_written(bare: Any, dated: str, written: str) -> None:
    for template in (CHATML, MARKED):
        made = renderer(bare, dated + template)
        assert made.segments(chat("u:a", "a:b"))[0].text.startswith(written + "<|im_start|>user")
        assert made.request([ChatMessage(role="user", content="a")]).startswith(written + "<|im_start|>user")
