"""The tokenizer's own chat template: a conversation becomes segments, whose completions are the answers and their ends.

Where the template marks what the assistant writes (``{% generation %}``), the marks are followed. Elsewhere the
conversation is rendered up to each answer, with the prompt for it, and that has to be how the whole one begins.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from plw.data.records import ChatMessage, ChatRecord
from plw.data.template import Segment, Span, weighted_spans
from plw.errors import UserError, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATE = "26 Jul 2024"
"""For templates that write today's date: the one that Llama's fall back on, so that a text is the same every day."""
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
THINKING = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
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
        template = tokenizer.get_chat_template()
        self.has_marks = MARKED.search(template) is not None
        self.end = self._end()

    def segments(self, record: ChatRecord) -> list[Segment]:
        """Alternating prompts and completions up to the last answer; what comes after it is left out.

        Raises:
            UserError: the template refuses the conversation, or renders its beginning differently once it goes on.
        """
        answers = [place for place, message in enumerate(record.messages) if message.role == "assistant"]
        messages = record.messages[: answers[-1] + 1]
        whole, stretches = self._answers(messages, answers, record)
        segments: list[Segment] = []
        done, told = 0, 0
        for place, (start, end) in zip(answers, stretches, strict=True):
            asked, answer = messages[told:place], messages[place]
            prompt, completion = whole[done:start], whole[start:end]
            segments.append(Segment("prompt", prompt, _prompt_spans(prompt, asked, record.where), record.weight))
            weight = record.weight * answer.weight
            segments.append(Segment("completion", completion, _answer_spans(completion, answer, record.where), weight))
            done, told = end, place + 1
        return segments

    def request(self, messages: Sequence[ChatMessage]) -> str:
        """The text after which the model is to answer."""
        return self._render([_plain(message) for message in messages], True, "a benchmark's request", None)

    def _answers(
        self, messages: Sequence[ChatMessage], answers: Sequence[int], record: ChatRecord
    ) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the first and last character of each answer with its end."""
        plain, where = [_plain(message) for message in messages], record.where or "a conversation"
        tools = list(record.tools) or None
        if self.has_marks:
            whole, marks = self._marked(plain, where, tools)
            if len(marks) == len(answers):
                return whole, marks
            raise UserError(
                f"{where}: the chat template of {_name(self.tokenizer)} marks {len(marks)} stretches for "
                f"{len(answers)} answers; put {{% generation %}} round each answer and its end"
            )
        whole = self._render(plain, False, where, tools)
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
        if self.has_marks:
            whole, marks = self._marked(plain, where, None)
            texts = [whole[start:end] for start, end in marks]
            ends = [text.partition(word)[2] for text, word in zip(texts, (FIRST, SECOND), strict=False)]
        else:
            whole = self._render(plain, False, where, None)
            ends = [whole.partition(word)[2].partition(SECOND)[0] for word in (FIRST, SECOND)]
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
                chat_template=self.tokenizer.get_chat_template(),
                return_assistant_tokens_mask=True,
                date_string=DATE,
                **self.tokenizer.special_tokens_map,
            )
        return texts[0], [(int(start), int(end)) for start, end in marks[0]]

    def _render(self, plain: list[dict[str, Any]], ask: bool, where: str, tools: list[Any] | None) -> str:
        with _refusals(self.tokenizer, where):
            return str(
                self.tokenizer.apply_chat_template(
                    plain, tools=tools, tokenize=False, add_generation_prompt=ask, date_string=DATE
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


def _plain(message: ChatMessage) -> dict[str, Any]:
    return {"role": message.role, "content": message.content, **message.more}


def _prompt_spans(prompt: str, asked: Sequence[ChatMessage], where: str) -> tuple[Span, ...]:
    """Where each message's words stand in a prompt; those that the template changes are the template's."""
    spans: list[Span] = []
    position = 0
    for message in asked:
        words = message.content.strip()
        start = prompt.find(words, position) if words else -1
        if start < 0:
            _check_unweighted(message, where)
            continue
        position = start + len(words)
        spans.append(Span(start, position, message.role, message.weight))
        lead = len(message.content) - len(message.content.lstrip())
        spans += weighted_spans(message.role, start - lead, message.spans)
    return tuple(spans)


def _answer_spans(completion: str, answer: ChatMessage, where: str) -> tuple[Span, ...]:
    """What is thinking in an answer, and its stretches with weights of their own."""
    thought = THINKING.match(completion)
    spans = [] if thought is None else [Span(0, thought.end(), "thinking")]
    if answer.spans:
        words = answer.content.strip()
        start = completion.find(words)
        if start < 0:
            _check_unweighted(answer, where)
        lead = len(answer.content) - len(answer.content.lstrip())
        spans += weighted_spans("assistant", start - lead, answer.spans)
    return tuple(spans)


def _check_unweighted(message: ChatMessage, where: str) -> None:
    if message.weight != 1 or message.spans:
        raise UserError(
            f"{where}: the chat template changes the words of a message of the {message.role} that has a weight, so "
            "its tokens cannot be found; leave out the weight"
        )
