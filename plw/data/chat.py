"""The tokenizer's own chat template: a conversation becomes segments, whose completions are the answers and their ends.

Where the template marks what the assistant writes (``{% generation %}``), the marks are followed. Elsewhere the
conversation is rendered up to each answer, with the prompt for it, and that has to be how the whole one begins.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plw.data.chat_text import ChatText
from plw.data.chat_words import THOUGHTS, WrittenWords, find_words, own_thought, plain_message, weighted_words
from plw.data.records import ChatMessage, ChatRecord
from plw.data.template import Segment, Span, thinking
from plw.data.tool_calls import called_names, is_miswritten, other_forms
from plw.errors import UserError, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST, SECOND = "plw-first-answer", "plw-second-answer"
"""Answers of the conversation that a template is tried on."""
SHOWN = 20
"""Letters that a message shows before the place where two texts part."""


class ChatRenderer:
    """Renders conversations by a tokenizer's chat template.

    Raises:
        UserError: the tokenizer has none, it fails on a question and an answer, or it puts no token after an answer
            that a model could be stopped at.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer, self._text = tokenizer, ChatText(tokenizer)
        self.end = self._end()
        self.end_token = self._end_token()
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
            thought = thinking(completion, prompt, *own_thought(messages[place]))
            weight = record.weight * messages[place].weight
            segments.append(Segment("completion", completion, (*_moved(spans_M[place], start, end), *thought), weight))
            done, told = end, place + 1
        return segments

    def _with_arguments(self, messages: tuple[ChatMessage, ...], record: ChatRecord) -> tuple[ChatMessage, ...]:
        """The messages with their tools' arguments in a form that the template writes; as they are where none is."""
        others = other_forms(messages)
        for form in [messages, *others] if others else []:
            plain = [plain_message(message) for message in form]
            try:
                whole = self._text.render(plain, False, record.where, list(record.tools) or None)
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

    def words(self, completion: str) -> str:
        """A completion without its end, and without what marks may enclose behind it: line breaks, further tokens."""
        words, _, behind = completion.rpartition(self.end)
        for token in self.tokenizer.get_added_vocab():
            behind = behind.replace(token, "")
        return completion if behind.strip() else words

    def _answers(
        self, messages: Sequence[ChatMessage], answers: Sequence[int], record: ChatRecord
    ) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the first and last character of each answer with its end."""
        plain, where = [plain_message(message) for message in messages], record.where or "a conversation"
        tools = list(record.tools) or None
        if self._text.has_marks(tools):
            whole, marks = self._text.marked(plain, where, tools)
            if len(marks) == len(answers):
                self._check_request(plain[: answers[-1]], whole, where, tools)
                return whole, marks
            raise UserError(
                f"{where}: the chat template of {self._text.name} marks {len(marks)} stretches for "
                f"{len(answers)} answers; put {{% generation %}} round each answer and its end"
            )
        whole = self._text.render(plain, False, where, tools)
        if answers[0] == 0:
            raise UserError(
                f"{where} begins with an answer, and what stands before it cannot be told from the chat template of "
                f"{self._text.name}; put a message before it, or {{% generation %}} marks round the answers in "
                "the template"
            )
        starts = []
        for place in answers:
            before = self._text.render(plain[:place], True, where, tools)
            if not whole.startswith(before):
                raise UserError(
                    f"{where}: the chat template of {self._text.name} renders what comes before message "
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

    def _check_request(self, before: list[dict[str, Any]], whole: str, where: str, tools: list[Any] | None) -> None:
        """That the text after which the last answer would be asked for is how the whole one begins.

        Without marks it is what tells the answer from the prompt.
        """
        try:
            asked = self._text.render(before, True, where, tools) if before else ""
        except UserError:
            return  # Of a beginning that the template does not take nobody can be asked.
        if not whole.startswith(asked):
            parting = next(place for place in range(len(asked)) if not whole.startswith(asked[: place + 1]))
            as_asked, as_learned = (shortened(repr(text[max(0, parting - SHOWN) :]), 60) for text in (asked, whole))
            raise UserError(
                f"{where}: the chat template of {self._text.name} asks for the last answer after {as_asked}, where "
                f"{as_learned} is learned; a model would be asked otherwise than it was trained: give a template whose "
                "prompt for an answer is how it writes one"
            )

    def _spans(self, messages: Sequence[ChatMessage], whole: str, record: ChatRecord) -> list[list[Span]]:
        """Where each message's words stand in the whole text, and its stretches with weights of their own.

        Raises:
            UserError: words, tools or their calls that the template leaves out, or words with a weight that it changes.
        """
        where, tools = record.where or "a conversation", list(record.tools) or None
        self._check_calls(messages, whole, where, tools)
        found_M = find_words(
            messages, whole, lambda plain: self._text.render(plain, False, where, tools), self._keeps_space
        )
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

    def _check_calls(self, messages: Sequence[ChatMessage], whole: str, where: str, tools: list[Any] | None) -> None:
        """That tools, calls of them and the last answer's thinking are written; a template may know none of them."""
        plain = [plain_message(message) for message in messages]
        asked = [("tools", -1)] if tools else []
        asked += [("tool_calls", number) for number, message in enumerate(plain) if "tool_calls" in message]
        # Of earlier answers templates leave thinking out on purpose.
        asked += [(name, len(plain) - 1) for name in THOUGHTS if name in plain[-1]]
        for name, number in asked:
            rest = [dict(message) for message in plain]
            rest[number].pop(name, None)
            try:
                text = self._text.render(rest, False, where, None if name == "tools" else tools)
            except UserError:
                continue  # So it is needed.
            if text == whole:
                of = "" if name == "tools" else f" of message {number + 1}"
                raise UserError(
                    f"{where}: the chat template of {self._text.name} does not write {name}{of}; leave it out of "
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

    def _answer_end(self, whole: str, start: int, bound: int, answer: ChatMessage, where: str) -> int:
        words = whole.find(answer.content.strip(), start, bound)
        after = start if words < 0 else words + len(answer.content.strip())
        for name in called_names(answer):
            # Words and calls may be messages of their own in the template, each with an end.
            after = max(after, whole.find(name, after, bound))
        found = whole.find(self.end, after, bound)
        if found < 0:
            raise UserError(
                f"{where}: the chat template of {self._text.name} puts no {self.end!r} after an answer here, as "
                "it does after others; leave the record out, or put {% generation %} marks round the answers in the "
                "template"
            )
        return found + len(self.end)

    def _end(self) -> str:
        """What stands after a last answer: a token of the tokenizer's own, or all that two answers have in common."""
        tried = [("user", "a"), ("assistant", FIRST), ("user", "b"), ("assistant", SECOND)]
        where = "a question and an answer"
        plain = [{"role": role, "content": content} for role, content in tried]
        if self._text.has_marks(None):
            whole, marks = self._text.marked(plain, where, None)
            texts = [whole[start:end] for start, end in marks]
            ends = [text.partition(word)[2] for text, word in zip(texts, (FIRST, SECOND), strict=False)]
        else:
            whole = self._text.render(plain, False, where, None)
            ends = [whole.partition(word)[2].partition(SECOND)[0] for word in (FIRST, SECOND)]
        if FIRST not in whole or SECOND not in whole:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} does not write a message's text as it "
                "is; give a template of messages whose content is a text"
            )
        end = self._common_end(ends) if ends else ""
        if not end:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} puts no end after an answer, so a model "
                "trained on it would never stop; write the end-of-turn token after the assistant's words"
            )
        return end

    def _end_token(self) -> int:
        """The token of the end; generation knows no other stop than tokens."""
        alone: list[int]
        ended: list[int]
        # Behind a word: a token that was added without being special may be one at a text's beginning alone.
        alone, ended = self.tokenizer([FIRST, FIRST + self.end.strip()], add_special_tokens=False)["input_ids"]
        if ended[:-1] != alone:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} ends an answer with {self.end!r}, of which the "
                f"tokenizer makes {len(ended) - len(alone)} tokens, so nothing would stop a model there; add it to the "
                "tokenizer as a special token"
            )
        return ended[-1]

    def _common_end(self, ends: Sequence[str]) -> str:
        # That of the last: behind earlier ones some templates write another, which does not end a conversation.
        rest = ends[-1].lstrip()
        space = ends[-1][: len(ends[-1]) - len(rest)]
        own = [str(token) for token in self.tokenizer.get_added_vocab() if token and rest.startswith(token)]
        if own:
            return space + max(own, key=len)
        shared = 0
        while shared < min(map(len, ends)) and len({end[shared] for end in ends}) == 1:
            shared += 1
        return ends[0][:shared].rstrip()


def _moved(spans: Sequence[Span], start: int, end: int) -> tuple[Span, ...]:
    """Stretches of the whole text as those of a segment of it."""
    return tuple(
        replace(span, start=max(span.start, start) - start, end=min(span.end, end) - start)
        for span in spans
        if span.start < end and span.end > start
    )
