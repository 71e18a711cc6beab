"""The tokenizer's own chat template: a conversation becomes segments, whose completions are the answers and their ends.

Where the template marks what the assistant writes (``{% generation %}``), the marks are followed. Elsewhere the
conversation is rendered up to each answer, with the prompt for it, and that has to be how the whole one begins.
"""

import datetime
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plw.data.chat_words import WrittenWords, find_words, plain_message, weighted_words
from plw.data.records import ChatMessage, ChatRecord
from plw.data.template import Segment, Span, thinking
from plw.data.tool_calls import is_miswritten, other_forms
from plw.errors import UserError, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = datetime.datetime(2024, 7, 26)
"""For templates that write today's date: the one that Llama's fall back on, so that a text is the same every day."""
DATE_STRING = DATE.strftime("%d %b %Y")
DATE_PARTS = ("-d", "-m", *"aAbBcdDeFHIjmMpSTuUwxXyYZ")
"""Directives of strftime."""
FIXED_DATE = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f" | replace('%{part}', '{DATE.strftime('%' + part)}')" for part in DATE_PARTS)
    + " }}{% endmacro %}\n"
)
"""Goes before a template that calls ``strftime_now``, transformers' function of today's date; it writes nothing."""
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
FIRST, SECOND = "plw-first-answer", "plw-second-answer"
"""Answers of the conversation that a template is tried on."""


class ChatRenderer:
    """Renders conversations by a tokenizer's chat template.

    Raises:
        UserError: the tokenizer has none, it fails on a question and an answer, or it puts no end after an answer.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise UserError(
                f"template=chat: {_name(tokenizer)} has no chat template; put a chat_template.jinja beside it, or "
                "choose another template"
            )
        self._check_default()
        self.end = self._end()
        self._spaces: dict[str, bool] = {}

    def segments(self, record: ChatRecord) -> list[Segment]:
        """Alternating prompts and completions up to the last answer; what comes after it is left out.

        Raises:
            UserError: the template refuses the conversation, or renders its beginning differently once it goes on.
        """
        answers = [place for place, message in enumerate(record.messages) if message.role == "assistant"]
        messages = self._with_arguments(record.messages[: answers[-1] + 1], record)
        whole, stretches = self._answers(messages, answers, record)
        spans_M = self._spans(messages, whole, record)
        segments: list[Segment] = []
        done, told = 0, 0
        for place, (start, end) in zip(answers, stretches, strict=True):
            prompt, completion = whole[done:start], whole[start:end]
            asked = [span for spans in spans_M[told:place] for span in spans]
            segments.append(Segment("prompt", prompt, _moved(asked, done, start), record.weight))
            thought, weight = thinking(completion, prompt), record.weight * messages[place].weight
            segments.append(Segment("completion", completion, (*_moved(spans_M[place], start, end), *thought), weight))
            done, told = end, place + 1
        return segments

    def _with_arguments(self, messages: tuple[ChatMessage, ...], record: ChatRecord) -> tuple[ChatMessage, ...]:
        """The messages with their tools' arguments in a form that the template writes; as they are where none is."""
        others = other_forms(messages)
        for form in [messages, *others] if others else []:
            plain = [plain_message(message) for message in form]
            try:
                whole = self._render(plain, False, record.where, list(record.tools) or None)
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
        asked = self._render(plain, True, where, None)
        if plain[0]["role"] == "system" and not self._writes_system(plain, asked, where):
            raise UserError(
                f"{where}: the chat template of {_name(self.tokenizer)} leaves out the system message; put its words "
                "into the instruction, or give a template that writes it"
            )
        return asked

    def _writes_system(self, plain: list[dict[str, Any]], asked: str, where: str) -> bool:
        """Whether a request has its system message: its own words, or others where the request without it differs."""
        try:
            return self._render(plain[1:], True, where, None) != asked or plain[0]["content"].strip() in asked
        except UserError:
            return True  # So it is needed.

    def _answers(
        self, messages: Sequence[ChatMessage], answers: Sequence[int], record: ChatRecord
    ) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the first and last character of each answer with its end."""
        plain, where = [plain_message(message) for message in messages], record.where or "a conversation"
        tools = list(record.tools) or None
        if self._has_marks(tools):
            whole, marks = self._marked(plain, where, tools)
            if len(marks) == len(answers):
                return whole, marks
            raise UserError(
                f"{where}: the chat template of {_name(self.tokenizer)} marks {len(marks)} stretches for "
                f"{len(answers)} answers; put {{% generation %}} round each answer and its end"
            )
        whole = self._render(plain, False, where, tools)
        if answers[0] == 0:
            raise UserError(
                f"{where} begins with an answer, and what stands before it cannot be told from the chat template of "
                f"{_name(self.tokenizer)}; put a message before it, or {{% generation %}} marks round the answers in "
                "the template"
            )
        starts = []
        for place in answers:
            before = self._render(plain[:place], True, where, tools)
            if not whole.startswith(before):
                raise UserError(
                    f"{where}: the chat template of {_name(self.tokenizer)} renders what comes before message "
                    f"{place + 1} differently once the chat goes on, so answers cannot be told from prompts; "
                    "put {% generation %} marks round the answers in the template, or leave out what moves, as the "
                    "system message"
                )
            starts.append(len(before))
        bounds = [*starts[1:], len(whole)]
        return whole, [
            (start, self._answer_end(whole, start, bound, messages[place], where))
            for start, bound, place in zip(starts, bounds, answers, strict=True)
        ]

    def _spans(self, messages: Sequence[ChatMessage], whole: str, record: ChatRecord) -> list[list[Span]]:
        """Where each message's words stand in the whole text, and its stretches with weights of their own.

        Raises:
            UserError: words, tools or their calls that the template leaves out, or words with a weight that it changes.
        """
        where, tools = record.where or "a conversation", list(record.tools) or None
        self._check_calls(messages, whole, where, tools)
        found_M = find_words(messages, whole, lambda plain: self._render(plain, False, where, tools), self._keeps_space)
        return [
            self._message_spans(
                messages[number], None if found_M is None else found_M[number], whole, number + 1, where
            )
            for number in range(len(messages))
        ]

    def _message_spans(
        self, message: ChatMessage, found: Sequence[WrittenWords] | None, whole: str, number: int, where: str
    ) -> list[Span]:
        if not message.content.strip() and not found:
            return []
        who = f"{where}: the chat template of {_name(self.tokenizer)}"
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

    def _check_calls(self, messages: Sequence[ChatMessage], whole: str, where: str, tools: list[Any] | None) -> None:
        """That tools, calls of them and the last answer's thinking are written; a template may know none of them."""
        plain = [plain_message(message) for message in messages]
        asked = [("tools", -1)] if tools else []
        asked += [("tool_calls", number) for number, message in enumerate(plain) if "tool_calls" in message]
        # Of earlier answers templates leave thinking out on purpose.
        asked += [(name, len(plain) - 1) for name in ("reasoning_content", "thinking") if name in plain[-1]]
        for name, number in asked:
            rest = [dict(message) for message in plain]
            rest[number].pop(name, None)
            try:
                text = self._render(rest, False, where, None if name == "tools" else tools)
            except UserError:
                continue  # So it is needed.
            if text == whole:
                of = "" if name == "tools" else f" of message {number + 1}"
                raise UserError(
                    f"{where}: the chat template of {_name(self.tokenizer)} does not write {name}{of}; leave it out of "
                    "the data, or give a template that writes it"
                )

    def _check_default(self) -> None:
        """That one of several templates serves where nothing is said of tools."""
        named_ones = self.tokenizer.chat_template
        if isinstance(named_ones, dict) and "default" not in named_ones:
            raise UserError(
                f"template=chat: {_name(self.tokenizer)} has the chat templates {', '.join(named_ones)} and none named "
                "default; name one so, or put a chat_template.jinja beside it"
            )

    def _has_marks(self, tools: list[Any] | None) -> bool:
        """Whether the template of a conversation, with tools or without, marks what the assistant writes."""
        return MARKED.search(self._template(tools)) is not None

    def _template(self, tools: list[Any] | None) -> str:
        """The template of a conversation, with tools or without, that writes the same date on every day."""
        template: str = self.tokenizer.get_chat_template(tools=tools)
        return FIXED_DATE + template if "strftime_now" in template else template

    def _keeps_space(self, role: str) -> bool:
        """Whether white space around the words of a message is written."""
        if role not in self._spaces:
            words = {role: f"\t {SECOND}\t "}
            roles = dict.fromkeys(["system", "user", "assistant"] if role == "system" else ["user", "assistant", role])
            plain = [{"role": name, "content": words.get(name, FIRST)} for name in roles]
            try:
                self._spaces[role] = words[role] in self._render(plain, False, "white space", None)
            except UserError:
                self._spaces[role] = False  # Some templates take no such conversation.
        return self._spaces[role]

    def _answer_end(self, whole: str, start: int, bound: int, answer: ChatMessage, where: str) -> int:
        words = whole.find(answer.content.strip(), start, bound)
        after = start if words < 0 else words + len(answer.content.strip())
        found = whole.find(self.end, after, bound)
        if found < 0:
            raise UserError(
                f"{where}: the chat template of {_name(self.tokenizer)} puts no {self.end!r} after an answer here, as "
                "it does after others; leave the record out"
            )
        return found + len(self.end)

    def _end(self) -> str:
        """What stands after every answer: a token of the tokenizer's own, or all that two answers have in common."""
        tried = [("user", "a"), ("assistant", FIRST), ("user", "b"), ("assistant", SECOND)]
        where = "a question and an answer"
        plain = [{"role": role, "content": content} for role, content in tried]
        if self._has_marks(None):
            whole, marks = self._marked(plain, where, None)
            texts = [whole[start:end] for start, end in marks]
            ends = [text.partition(word)[2] for text, word in zip(texts, (FIRST, SECOND), strict=False)]
        else:
            whole = self._render(plain, False, where, None)
            ends = [whole.partition(word)[2].partition(SECOND)[0] for word in (FIRST, SECOND)]
        if FIRST not in whole or SECOND not in whole:
            raise UserError(
                f"template=chat: the chat template of {_name(self.tokenizer)} does not write a message's text as it "
                "is; give a template of messages whose content is a text"
            )
        end = self._common_end(ends) if ends else ""
        if not end:
            raise UserError(
                f"template=chat: the chat template of {_name(self.tokenizer)} puts no end after an answer, so a model "
                "trained on it would never stop; write the end-of-turn token after the assistant's words"
            )
        return end

    def _common_end(self, ends: Sequence[str]) -> str:
        space = ends[0][: len(ends[0]) - len(ends[0].lstrip())]
        rest = ends[0].removeprefix(space)
        own = [str(token) for token in self.tokenizer.get_added_vocab() if token and rest.startswith(token)]
        if own:
            return space + max(own, key=len)
        shared = 0
        while shared < min(map(len, ends)) and len({end[shared] for end in ends}) == 1:
            shared += 1
        return ends[0][:shared].rstrip()

    def _marked(
        self, plain: list[dict[str, Any]], where: str, tools: list[Any] | None
    ) -> tuple[str, list[tuple[int, int]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        render: Any = render_jinja_template  # Its types say that it returns the text alone.
        with _refusals(self.tokenizer, where):
            texts, marks = render(
                [plain],
                tools=tools,
                chat_template=self._template(tools),
                return_assistant_tokens_mask=True,
                date_string=DATE_STRING,
                **self.tokenizer.special_tokens_map,
            )
        return texts[0], [(int(start), int(end)) for start, end in marks[0]]

    def _render(self, plain: list[dict[str, Any]], ask: bool, where: str, tools: list[Any] | None) -> str:
        with _refusals(self.tokenizer, where):
            return str(
                self.tokenizer.apply_chat_template(
                    plain,
                    tools=tools,
                    chat_template=self._template(tools),
                    tokenize=False,
                    add_generation_prompt=ask,
                    date_string=DATE_STRING,
                )
            )


@contextmanager
def _refusals(tokenizer: "PreTrainedTokenizerBase", where: str) -> Iterator[None]:
    """A template's own complaint, and whatever else goes wrong in it, as one line."""
    try:
        yield
    except Exception as error:  # Templates are programs: they raise what Jinja and Python have.
        reason = shortened(" ".join(str(error).split()) or type(error).__name__, 120)
        raise UserError(
            f"{where}: the chat template of {_name(tokenizer)} refuses the conversation ({reason})"
        ) from None


def _name(tokenizer: "PreTrainedTokenizerBase") -> str:
    return tokenizer.name_or_path or "the tokenizer"


def _moved(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """Stretches of the whole text as those of a segment of it."""
    return tuple(
        replace(span, start=max(span.start, start) - start, end=min(span.end, end) - start)
        for span in spans
        if span.start < end and span.end > start
    )
