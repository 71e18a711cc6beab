"""Templates: a record becomes segments of text, each with the role that its tokens have in the loss."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from plw.config.training import TemplateConfig
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord, Record
from plw.data.weights import WeightSpan

Role = Literal["prompt", "completion"]
BETWEEN_TURNS = "\n\n"
"""Before a later turn of a record without messages, where the template has no ``turn_separator``."""
THINKING = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
THOUGHT = re.compile(r".*?</think>\s*", re.DOTALL)
"""Thinking that the prompt has begun, as some templates do."""
CLOSED = re.compile(r"\s*</think>\s*")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a segment's text with a role of its own, and a weight from the data."""

    start: int
    end: int
    """The character after the last one."""
    role: str
    """One of :data:`plw.config.loss.ROLES`."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text that the model is given (``prompt``) or has to produce (``completion``)."""

    role: Role
    text: str
    spans: tuple[Span, ...] = field(default=(), compare=False)
    """Whose words stand where; the rest of a prompt is the template's, the rest of a completion the assistant's."""
    weight: float = 1.0
    """From the data, of all of it, the EOS after it included."""
    words_end: int | None = field(default=None, compare=False)
    """The character before which the words of a completion end, where what ends it stands in the text too."""

    @property
    def has_weights(self) -> bool:
        """Whether the data weigh any of it."""
        return self.weight != 1 or any(span.weight != 1 for span in self.spans)


@dataclass(frozen=True)
class AlpacaTemplate:
    """One prompt and one completion, filled in from the config's texts.

    Only the template's own slots are filled: ``{input}`` inside an instruction stays as it is.
    """

    config: TemplateConfig

    def segments(self, record: AlpacaRecord) -> list[Segment]:
        """The prompt, with or without an input, and the completion; those of earlier turns before them.

        A system message stands before the first instruction, with a blank line between. ``turn_separator``, or a blank
        line, stands before every turn but the first and belongs to its prompt.
        """
        if not record.history:
            return self._asked_and_answered(record)
        before = [
            AlpacaRecord(instruction=asked, output=answer, weight=record.weight) for asked, answer in record.history
        ]
        first, *others = [*before, replace(record, system="", history=())]
        between = BETWEEN_TURNS if self.config.turn_separator is None else self.config.turn_separator
        segments = self._asked_and_answered(replace(first, system=record.system))
        for turn in others:
            prompt, completion = self._asked_and_answered(turn)
            segments += [_after(between, prompt), completion]
        return segments

    def _asked_and_answered(self, record: AlpacaRecord) -> list[Segment]:
        prompt = _filled("prompt", self.config.with_input if record.input else self.config.without_input, record)
        return [self._stripped(prompt), _filled("completion", self.config.completion, record)]

    def chat_segments(self, record: ChatRecord) -> list[Segment]:
        """A chat turn by turn: what stands between two answers is one instruction, its messages a blank line apart.

        ``turn_separator`` stands before every turn but the first and belongs to its prompt.
        """
        segments: list[Segment] = []
        asked: list[ChatMessage] = []
        for message in record.messages:
            if message.role != "assistant":
                asked.append(message)
                continue
            between = (self.config.turn_separator or "") if segments else ""
            segments += [self._turn(asked, between, record.weight), self._answer(message, record.weight)]
            asked = []
        return segments

    def _turn(self, asked: Sequence[ChatMessage], between: str, weight: float) -> Segment:
        """What is said before an answer, each message with its role and weights."""
        said = AlpacaRecord(instruction="\n\n".join(message.content for message in asked), output="")
        text = between + _filled("prompt", self.config.without_input, said).text
        start, spans = len(between) + self.config.without_input.index("{instruction}"), []
        for message in asked:
            spans.append(Span(start, start + len(message.content), message.role, message.weight))
            spans += weighted_spans(message.role, start, message.spans)
            start += len(message.content) + len("\n\n")
        return self._stripped(Segment("prompt", text, tuple(spans), weight))

    def _answer(self, message: ChatMessage, weight: float) -> Segment:
        text = _filled("completion", self.config.completion, AlpacaRecord(instruction="", output=message.content)).text
        spans = weighted_spans("assistant", self.config.completion.index("{output}"), message.spans)
        return Segment("completion", text, (*spans, *thinking(text)), weight * message.weight)

    def _stripped(self, prompt: Segment) -> Segment:
        """The prompt without one space at its end, if the template says so."""
        if not self.config.strip_prompt_space or not prompt.text.endswith(" "):
            return prompt
        length = len(prompt.text) - 1
        return replace(
            prompt,
            text=prompt.text[:length],
            spans=tuple(replace(span, end=min(span.end, length)) for span in prompt.spans),
        )

    def prompt(self, instruction: str, given: str = "", system: str = "") -> str:
        """The prompt alone, for generation; ``given`` is the record's input."""
        return self.segments(AlpacaRecord(instruction=instruction, input=given, output="", system=system))[0].text


@dataclass(frozen=True)
class ChatTemplate:
    """Plain role tags; prompts and completions alternate, and the assistant's words alone are completions.

    A system or user message is ``<|role|>`` on one line and its words on the next; an answer follows
    ``<|assistant|>`` and a line break directly. Tags and line breaks belong to the prompt::

        <|user|>
        Hello<line break>
        <|assistant|>
        Hi there<EOS><line break>
        <|user|>
        ...
    """

    def segments(self, record: ChatRecord) -> list[Segment]:
        """Alternating segments, from a prompt to the last answer; words after the last answer are left out."""
        segments: list[Segment] = []
        pending = ""
        spans: list[Span] = []
        for message in record.messages:
            weight = record.weight * message.weight
            if message.role == "assistant":
                segments.append(Segment("prompt", f"{pending}<|assistant|>\n", tuple(spans), record.weight))
                answer = (*weighted_spans("assistant", 0, message.spans), *thinking(message.content))
                segments.append(Segment("completion", message.content, answer, weight))
                pending, spans = "\n", []
            else:
                start = len(pending) + len(f"<|{message.role}|>\n")
                pending += f"<|{message.role}|>\n{message.content}\n"
                spans.append(Span(start, start + len(message.content), message.role, message.weight))
                spans += weighted_spans(message.role, start, message.spans)
        return segments


def request_text(
    instruction: str, given: str, template: TemplateConfig, record_format: str, system: str | None = None
) -> str:
    """A benchmark's request as a model is asked it: in the form of the records that it was trained on.

    A model of chats gets instruction and input as one message of the user, with a blank line between them, after the
    system message where there is one; one of records without turns has the system message before its instruction.
    """
    assert template.kind == "texts", "a tokenizer's chat template is the Renderer's"
    if record_format == "alpaca":
        return AlpacaTemplate(template).prompt(instruction, given, system or "")
    said = [] if system is None else [ChatMessage(role="system", content=system)]
    asked = ChatMessage(role="user", content=f"{instruction}\n\n{given}" if given else instruction)
    return _before_answer([*said, asked], template)


def dialogue_text(
    questions: Sequence[str], answers: Sequence[str], template: TemplateConfig, record_format: str, end: str = ""
) -> str:
    """The request of a dialogue's next answer, as a chat of that form would have been trained on.

    A model of records without turns is asked in its template turn after turn, with ``turn_separator`` or a blank line
    between an answer and the next prompt.

    Args:
        questions: What the user says, one more than the answers.
        answers: The model's own so far.
        template: Texts of the turns.
        record_format: Form of the records that the model was trained on.
        end: The tokenizer's EOS where the training puts one after each answer.
    """
    messages = []
    for question, answer in zip(questions, [*answers, ""], strict=True):
        messages += [ChatMessage(role="user", content=question), ChatMessage(role="assistant", content=answer)]
    if record_format == "alpaca" and template.turn_separator is None:
        template = replace(template, turn_separator=BETWEEN_TURNS)
    return _before_answer(messages[:-1], template, end)


def _before_answer(messages: Sequence[ChatMessage], template: TemplateConfig, end: str = "") -> str:
    """The text of a conversation up to where its next answer begins."""
    answer = ChatMessage(role="assistant", content="")
    *segments, _ = record_segments(ChatRecord(messages=(*messages, answer)), template)
    return "".join(segment.text + (end if segment.role == "completion" else "") for segment in segments)


def record_segments(record: Record, template: TemplateConfig) -> list[Segment]:
    """The segments of a record of either form; the config's texts serve the Alpaca form, and chats if it says so."""
    assert template.kind == "texts", "a tokenizer's chat template is the Renderer's"
    if isinstance(record, ChatRecord):
        chats = ChatTemplate().segments if template.turn_separator is None else AlpacaTemplate(template).chat_segments
        return chats(record)
    return AlpacaTemplate(template).segments(record)


def _filled(role: Role, form: str, record: AlpacaRecord) -> Segment:
    """A form with its slots filled, and where the record's words stand in it."""
    pieces, spans, end, length = [], [], 0, 0
    for match in re.finditer(r"\{(instruction|input|output)\}", form):
        value, words = getattr(record, match[1]), "assistant" if match[1] == "output" else "user"
        pieces.append(form[end : match.start()])
        length += match.start() - end
        if record.system and match[1] == "instruction":
            pieces.append(f"{record.system}\n\n")
            spans.append(Span(length, length + len(record.system), "system"))
            length += len(pieces[-1])
        pieces.append(value)
        spans.append(Span(length, length + len(value), words))
        spans += weighted_spans(words, length, [span for span in record.spans if span.field == match[1]])
        length, end = length + len(value), match.end()
    text = "".join([*pieces, form[end:]])
    return Segment(role, text, (*spans, *(thinking(text) if role == "completion" else ())), record.weight)


def _after(text: str, prompt: Segment) -> Segment:
    """A prompt that begins with a text of the template."""
    spans = (replace(span, start=span.start + len(text), end=span.end + len(text)) for span in prompt.spans)
    return replace(prompt, text=text + prompt.text, spans=tuple(spans))


def thinking(completion: str, prompt: str = "", thought: str = "", answer: str = "") -> tuple[Span, ...]:
    """What the assistant thinks before it answers, where the prompt or the completion begins it with ``<think>``.

    A template may write a ``thought`` in its own way: then all up to its end, where the ``answer``'s words come later.
    """
    begun = prompt.rstrip().endswith("<think>")
    found, end = (THOUGHT if begun else THINKING).match(completion), 0
    while found is not None:
        # A template may write an empty thought before the answer's own.
        end, found = found.end(), THINKING.match(completion, found.end())
    words = thought.strip()
    written = completion.find(words, end) if words else -1
    if written >= 0 and completion.find(answer.strip(), written + len(words)) >= 0:
        closed = CLOSED.match(completion, written + len(words))
        end = written + len(words) if closed is None else closed.end()
    return (Span(0, end, "thinking"),) if end else ()


def weighted_spans(role: str, start: int, spans: Sequence[WeightSpan]) -> tuple[Span, ...]:
    """Weights of a text's stretches, as stretches of what the text stands in from ``start``."""
    return tuple(Span(start + span.start, start + span.end, role, span.weight) for span in spans)
