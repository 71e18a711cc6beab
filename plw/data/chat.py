"""The tokenizer's own chat template: a conversation becomes segments, whose completions are the answers and their ends.

Where the template marks what the assistant writes (``{% generation %}``), the marks are followed. Elsewhere the
conversation is rendered up to each answer, with the prompt for it, and that has to be how the whole one begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plw.data.chat_ends import FIRST, SECOND, AnswerPlace, ChatEnds, behind_words
from plw.data.chat_text import ChatText
from plw.data.chat_words import (
    THOUGHTS,
    WrittenWords,
    find_call_ends,
    find_words,
    own_thought,
    plain_message,
    weighted_words,
)
from plw.data.records import ChatMessage, ChatRecord
from plw.data.template import Segment, Span, thinking
from plw.data.tool_calls import is_miswritten, other_forms
from plw.errors import UserError, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN = 20
"""Letters that a message shows before the place where two texts part."""


@dataclass(frozen=True)
class _Telling:
    """How a record's conversation is written: by the template, with the record's tools; and its place, for messages."""

    text: ChatText
    where: str
    tools: list[Any] | None

    def whole(self, plain: list[dict[str, Any]]) -> str:
        """The text of a conversation."""
        return self.text.render(plain, False, self.where, self.tools)

    def asked(self, plain: list[dict[str, Any]]) -> str:
        """The text after which the next answer is asked for."""
        return self.text.render(plain, True, self.where, self.tools)


class ChatRenderer:
    """Renders conversations by a tokenizer's chat template.

    Raises:
        UserError: the tokenizer has none, it fails on a question and an answer, or it puts no token after an answer
            that a model could be stopped at.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer, self._text = tokenizer, ChatText(tokenizer)
        self._ends = ChatEnds(tokenizer, self._text)
        self._stops: set[int] = set()
        self._spaces: dict[str, bool] = {}

    @property
    def end_tokens(self) -> list[int]:
        """Tokens to stop at: a last answer's end, and those of the answers that were rendered."""
        last = self._ends.last.token
        return [last, *sorted(self._stops - {last})]

    @cached_property
    def before_words(self) -> int | None:
        """As :meth:`plw.data.chat_ends.ChatEnds.before_words`."""
        return self._ends.before_words()

    def words(self, completion: Segment) -> str:
        """A completion without its end, and without what ends in the token before its words."""
        words = completion.text[: completion.words_end]
        if self.before_words is None:
            return words
        return words.rpartition(str(self.tokenizer.convert_ids_to_tokens(self.before_words)))[2]

    def segments(self, record: ChatRecord) -> list[Segment]:
        """Alternating prompts and completions up to the last answer; what comes after it is left out.

        Raises:
            UserError: the template refuses the conversation, or renders its beginning differently once it goes on.
        """
        answers = [place for place, message in enumerate(record.messages) if message.role == "assistant"]
        telling = _Telling(self._text, record.where or "a conversation", list(record.tools) or None)
        messages = self._with_arguments(record.messages[: answers[-1] + 1], telling)
        whole, bounds = self._bounds(messages, answers, telling)
        found_M = find_words(messages, whole, telling.whole, self._keeps_space)
        spans_M = self._spans(messages, whole, found_M, telling)
        written, places = self._answers(messages, whole, dict(zip(answers, bounds, strict=True)), found_M, telling)
        segments: list[Segment] = []
        done, told = 0, 0
        for place, answer in places.items():
            prompt, completion = written[done : answer.start], written[answer.start : answer.end]
            asked = [span for spans in spans_M[told:place] for span in spans]
            segments.append(Segment("prompt", prompt, _moved(asked, done, answer.start), record.weight))
            spans = (
                *_moved(spans_M[place], answer.start, answer.end),
                *thinking(completion, prompt, *own_thought(messages[place])),
            )
            weight, words_end = record.weight * messages[place].weight, answer.words_end - answer.start
            segments.append(Segment("completion", completion, spans, weight, words_end))
            done, told = answer.end, place + 1
        return segments

    def _with_arguments(self, messages: tuple[ChatMessage, ...], telling: _Telling) -> tuple[ChatMessage, ...]:
        """The messages with their tools' arguments in a form that the template writes; as they are where none is."""
        others = other_forms(messages)
        for form in [messages, *others] if others else []:
            try:
                whole = telling.whole([plain_message(message) for message in form])
            except UserError:
                continue
            if not is_miswritten(form, whole):
                return form
        return messages

    def request(self, messages: Sequence[ChatMessage], where: str = "a benchmark's request") -> str:
        """The text after which the model is to answer; ``where`` names it for messages.

        Raises:
            UserError: the template refuses the conversation, or leaves its system message out.
        """
        plain = [plain_message(message) for message in messages]
        asked = self._text.render(plain, True, where, None)
        if plain[0]["role"] == "system" and not self._writes_system(plain, asked, where):
            raise UserError(
                f"{where}: the chat template of {self._text.name} leaves out the system message; put its words "
                "into the instruction, or give a template that writes it"
            )
        return asked

    def _writes_system(self, plain: list[dict[str, Any]], asked: str, where: str) -> bool:
        """Whether a request has its system message: its own words, or others where the request without it differs."""
        try:
            return self._text.render(plain[1:], True, where, None) != asked or plain[0]["content"].strip() in asked
        except UserError:
            return True  # So it is needed.

    def _bounds(
        self, messages: Sequence[ChatMessage], answers: Sequence[int], telling: _Telling
    ) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the characters that each answer lies between: its marks, or two requests for one."""
        plain, where = [plain_message(message) for message in messages], telling.where
        if self._text.has_marks(telling.tools):
            whole, marks = self._text.marked(plain, where, telling.tools)
            marks = marks if len(marks) == len(answers) else _joined(marks)
            if len(marks) == len(answers):
                self._check_request(plain[: answers[-1]], whole, telling)
                return whole, marks
            raise UserError(
                f"{where}: the chat template of {self._text.name} marks {len(marks)} stretches for "
                f"{len(answers)} answers; put {{% generation %}} round each answer and its end"
            )
        whole = telling.whole(plain)
        if answers[0] == 0:
            raise UserError(
                f"{where} begins with an answer, and what stands before it cannot be told from the chat template of "
                f"{self._text.name}; put a message before it, or {{% generation %}} marks round the answers in "
                "the template"
            )
        starts = []
        for place in answers:
            before = telling.asked(plain[:place])
            if not whole.startswith(before):
                raise UserError(
                    f"{where}: the chat template of {self._text.name} renders what comes before message "
                    f"{place + 1} differently once the chat goes on, so answers cannot be told from prompts; "
                    "put {% generation %} marks round the answers in the template, or leave out what moves, as the "
                    "system message"
                )
            starts.append(len(before))
        return whole, list(zip(starts, [*starts[1:], len(whole)], strict=True))

    def _answers(
        self,
        messages: Sequence[ChatMessage],
        whole: str,
        bounds: Mapping[int, tuple[int, int]],
        found_M: Sequence[Sequence[WrittenWords]] | None,
        telling: _Telling,
    ) -> tuple[str, dict[int, AnswerPlace]]:
        """The text with the last answer's end, and where the answers stand in it, by their messages' numbers."""
        where, tools = telling.where, telling.tools
        calls_M = find_call_ends(messages, whole, telling.whole)
        is_marked, places = self._text.has_marks(tools), {}
        for number, (start, stop) in bounds.items():
            message, follows = messages[number], messages[number + 1].role if number + 1 < len(messages) else ""
            found, limit = [] if found_M is None else found_M[number], stop
            if found_M is not None and follows:
                limit = min([words.place for words in found_M[number + 1] if start < words.place < stop], default=stop)
            elif follows and "tool_calls" in message.more and calls_M[number] is None:
                # Neither calls nor words are told: what comes next may have the tool's name in it.
                place = whole.find(messages[number + 1].content.strip(), start, stop)
                limit = place if place > start else stop
            who = f"message {number + 1}, of the assistant"
            after = behind_words(message, whole, start, limit, found, calls_M[number])
            if after is None and is_marked:
                after = start
            elif after is None:
                raise UserError(
                    f"{where}: the chat template of {self._text.name} writes {who}, in part behind the words of the "
                    "next; leave out its words or its calls"
                )
            tail = whole[after:limit]
            end = (self._ends.in_marks if is_marked else self._ends.behind)(message, follows, tail, tools)
            if end is None:
                raise UserError(
                    f"{where}: the chat template of {self._text.name} puts no end behind {who}; leave the record out, "
                    "or put {% generation %} marks round the answers and their ends in the template"
                )
            words, closed = end.places(tail)
            whole += "" if end.is_written else end.text
            if end.is_stop:
                self._stops.add(end.token)
            places[number] = AnswerPlace(start, after + words, stop if is_marked else after + closed)
        return whole, places

    def _check_request(self, before: list[dict[str, Any]], whole: str, telling: _Telling) -> None:
        """That the text after which the last answer would be asked for is how the whole one begins.

        Without marks it is what tells the answer from the prompt.
        """
        try:
            asked = telling.asked(before) if before else ""
        except UserError:
            return  # Of a beginning that the template does not take nobody can be asked.
        if not whole.startswith(asked):
            parting = next(place for place in range(len(asked)) if not whole.startswith(asked[: place + 1]))
            as_asked, as_learned = (shortened(repr(text[max(0, parting - SHOWN) :]), 60) for text in (asked, whole))
            raise UserError(
                f"{telling.where}: the chat template of {self._text.name} asks for the last answer after {as_asked}, "
                f"where {as_learned} is learned; a model would be asked otherwise than it was trained: give a template "
                "whose prompt for an answer is how it writes one"
            )

    def _spans(
        self,
        messages: Sequence[ChatMessage],
        whole: str,
        found_M: Sequence[Sequence[WrittenWords]] | None,
        telling: _Telling,
    ) -> list[list[Span]]:
        """Each message's words in the whole text, and its stretches with weights of their own.

        Raises:
            UserError: words, tools or their calls that the template leaves out, or words with a weight that it changes.
        """
        self._check_calls(messages, whole, telling)
        return [
            self._message_spans(message, None if found_M is None else found_M[place], whole, place + 1, telling.where)
            for place, message in enumerate(messages)
        ]

    def _message_spans(
        self, message: ChatMessage, found: Sequence[WrittenWords] | None, whole: str, number: int, where: str
    ) -> list[Span]:
        if not message.content.strip() and not found:
            return []
        who = f"{where}: the chat template of {self._text.name}"
        if found == []:
            raise UserError(
                f"{who} leaves out message {number}, of the {message.role}; leave it out of the data, or give a "
                "template that writes it"
            )
        weighed = [] if found is None else weighted_words(message, found, whole)
        is_answer = message.role == "assistant"
        if weighed is None or (found is None and (message.spans or (message.weight != 1 and not is_answer))):
            raise UserError(
                f"{who} changes the words of message {number}, of the {message.role}, that has a weight, so its tokens "
                "cannot be found; leave out the weight"
            )
        own = [Span(words.place, words.stop, message.role, message.weight) for words in found or []]
        return [*([] if is_answer else own), *weighed]

    def _check_calls(self, messages: Sequence[ChatMessage], whole: str, telling: _Telling) -> None:
        """That tools, calls of them and the last answer's thinking are written; a template may know none of them."""
        plain = [plain_message(message) for message in messages]
        for name, rest in _poorer(plain, bool(telling.tools)):
            try:
                text = (replace(telling, tools=None) if name == "tools" else telling).whole(rest)
            except UserError:
                continue  # So it is needed.
            if text == whole:
                raise UserError(
                    f"{telling.where}: the chat template of {self._text.name} does not write {name}; leave it out of "
                    "the data, or give a template that writes it"
                )

    def _keeps_space(self, role: str) -> bool:
        """Whether white space around the words of a message is written."""
        if role not in self._spaces:
            words = {role: f"\t {SECOND}\t "}
            roles = dict.fromkeys(["system", "user", "assistant"] if role == "system" else ["user", "assistant", role])
            plain = [{"role": name, "content": words.get(name, FIRST)} for name in roles]
            try:
                self._spaces[role] = words[role] in self._text.render(plain, False, "white space", None)
            except UserError:
                self._spaces[role] = False  # Some templates take no such conversation.
        return self._spaces[role]


def _joined(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that are not empty, as one where they touch: what one answer is marked in pieces."""
    joined: list[tuple[int, int]] = []
    for start, end in marks:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        elif start < end:
            joined.append((start, end))
    return joined


def _poorer(plain: list[dict[str, Any]], has_tools: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Parts of a conversation that a template may not write, and the conversation without each."""
    if has_tools:
        yield "tools", plain
    for number, message in enumerate(plain):
        calls = message.get("tool_calls")
        of = f"of message {number + 1}"
        if isinstance(calls, list) and len(calls) > 1:
            for call in range(len(calls)):
                less = {**message, "tool_calls": [*calls[:call], *calls[call + 1 :]]}
                yield f"tool_calls[{call}] {of}", [*plain[:number], less, *plain[number + 1 :]]
        # Of earlier answers templates leave thinking out on purpose.
        for name in ("tool_calls", *(THOUGHTS if number == len(plain) - 1 else ())):
            if name in message:
                less = {field: value for field, value in message.items() if field != name}
                yield f"{name} {of}", [*plain[:number], less, *plain[number + 1 :]]


def _moved(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """Stretches of the whole text as those of a segment of it."""
    return tuple(
        replace(span, start=max(span.start, start) - start, end=min(span.end, end) - start)
        for span in spans
        if span.start < end and span.end > start
    )
