"""Where an answer ends in the text of a chat template, which may write another token behind each.

Most templates end all answers alike. Some end a conversation's last answer otherwise than an earlier one (gpt-oss), or
one that calls a tool otherwise than one that speaks (Llama's ``<|eom_id|>``, Gemma 4). In others (GLM) nothing ends an
answer but the token of whoever speaks next. So each end is found once, in a short conversation of its kind.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plw.data.chat_text import ChatText
from plw.data.chat_words import THOUGHTS, WrittenWords, plain_message
from plw.data.records import ChatMessage
from plw.data.tool_calls import called_names, other_forms
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST, SECOND = "plw-first-answer", "plw-second-answer"
"""Words of the conversations that a template is tried on."""
ID, NAME = "plwcall01", "plw_call"
"""Of a call that a template is tried on; Mistral's ids have nine letters and digits."""
ASKED = ChatMessage(role="user", content="a")


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """What ends an answer."""

    text: str
    """One token, behind the white space that the template puts before it."""
    token: int
    is_written: bool = True
    """Whether the template writes it; the token of the next speaker is missing where nobody speaks."""
    is_stop: bool = True
    """Whether a model is to stop there: not where the same token stands between a thought and the words."""

    def places(self, tail: str) -> tuple[int, int]:
        """In what stands behind an answer's words and calls, the characters where they and the answer end."""
        if not self.is_written:
            return len(tail), len(tail) + len(self.text)
        token = self.text.strip()
        found = tail.index(token)
        space = self.text.removesuffix(token)
        words = found - (len(space) if tail.endswith(space, 0, found) else 0)
        # Where the assistant may go on behind it, the token is no end to learn.
        return words, found + len(token) if self.is_stop else words


@dataclass(frozen=True, slots=True)
class AnswerPlace:
    """Characters ``start`` to before ``end`` of a text are an answer, those from ``words_end`` on what ends it."""

    start: int
    words_end: int
    end: int


class ChatEnds:
    """The ends of answers, by whether one calls a tool and by whose message follows.

    Raises:
        UserError: the template fails on a question and an answer, or puts no token after an answer that a model could
            be stopped at.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", text: ChatText) -> None:
        self._tokenizer, self._text = tokenizer, text
        own = sorted((str(token) for token in tokenizer.get_added_vocab() if token.strip()), key=len, reverse=True)
        self._own = re.compile("|".join(map(re.escape, own)) or "(?!)")
        self._known: dict[tuple[bool, str, bool], End | None] = {}
        self._inside: dict[bool, set[str]] = {}
        self.last = self._last()
        """Of a conversation's last answer that calls no tool."""

    def behind(self, answer: ChatMessage, follows: str, tail: str, tools: list[Any] | None) -> End | None:
        """The end that the template writes behind an answer; None where it writes none.

        Args:
            answer: whether it calls tools counts.
            follows: the role of the next message; empty where there is none.
            tail: what stands behind its words and calls.
            tools: of the conversation.

        Raises:
            UserError: the end is not one token.
        """
        end = self._of(answer, follows, tools)
        return end if end is not None and (end.text.strip() in tail or not end.is_written) else None

    def in_marks(self, answer: ChatMessage, _: str, tail: str, tools: list[Any] | None) -> End | None:
        """The end of an answer that the template marks; its ``tail`` is within the marks. As :meth:`behind`."""
        if "tool_calls" in answer.more:
            return self._end(self._of_calls(tail, tools))
        if self.last.text.strip() in tail:
            return replace(self.last, is_written=True)
        return self._earlier(self._first(tail), tools)

    def before_words(self) -> int | None:
        """The added token behind which an answer's words begin, at the latest; None where none stands before them.

        gpt-oss's ``<|message|>``, behind the thought and the name of the channel; Qwen 3's ``</think>``.
        """
        request = self._text.render([plain_message(ASKED)], True, "a question", None)
        for name in (*THOUGHTS, ""):
            answer = replace(_spoken(SECOND), more={name: FIRST} if name else {})
            for text in self._texts([answer], None):
                begin = request if text.startswith(request) and not name else FIRST
                before, is_there, _ = text.partition(begin)[2].partition(SECOND)
                found = self._own.findall(before)
                if found and is_there:
                    return int(self._tokenizer.get_added_vocab()[found[-1]])
        return None

    def _of(self, answer: ChatMessage, follows: str, tools: list[Any] | None) -> End | None:
        calls = "tool_calls" in answer.more
        kind = (calls, follows, bool(tools))
        if kind not in self._known:
            self._known[kind] = (self._of_a_call if calls else self._of_words)(follows, tools)
        return self._known[kind]

    def _last(self) -> End:
        """What stands after a last answer: a token of the tokenizer's own, or all that two answers have in common."""
        words = [("user", "a"), ("assistant", FIRST), ("user", "b"), ("assistant", SECOND)]
        plain, where = [{"role": role, "content": content} for role, content in words], "a question and an answer"
        if self._text.has_marks(None):
            whole, marks = self._text.marked(plain, where, None)
            text = "".join(whole[start:end] for start, end in marks)
        else:
            whole = text = self._text.render(plain, False, where, None)
        if FIRST not in whole or SECOND not in whole:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} does not write a message's text as it "
                "is; give a template of messages whose content is a text"
            )
        first, second = text.partition(FIRST)[2].partition(SECOND)[0], text.partition(SECOND)[2]
        # Behind earlier answers some templates write another, which does not end a conversation.
        end = self._end(self._first(second) or _shared(first, second).rstrip())
        if end is None and text is whole and not second.strip():
            end = self._of_the_next(_spoken(), "", None)
        if end is None:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} puts no end after an answer, so a model "
                "trained on it would never stop; write the end-of-turn token after the assistant's words"
            )
        return end

    def _of_words(self, follows: str, tools: list[Any] | None) -> End | None:
        """The end of an answer that calls no tool."""
        if not self.last.is_written:
            return self._of_the_next(_spoken(), follows, tools)
        tail = self._tail(_spoken(), follows, tools)
        return self._earlier(self._first(tail or ""), tools) or self.last

    def _earlier(self, text: str, tools: list[Any] | None) -> End | None:
        """An end that may be another than a last answer's."""
        end = self._end(text)
        if end is None or end.token == self.last.token or end.text.strip() not in self._within(tools):
            return end
        return replace(end, is_stop=False)

    def _of_a_call(self, follows: str, tools: list[Any] | None) -> End | None:
        """The end of an answer that calls a tool: one that answers have else, or the last token of its own."""
        last = self._tail(_calling(FIRST), "", tools)
        if last is None:
            return self._of_words(follows, tools)
        if not self.last.is_written:
            return self._of_the_next(_calling(FIRST), follows, tools)
        goes_on = self._tail(_calling(FIRST), follows, tools) if follows else None
        if goes_on is None:
            return self._end(self._of_calls(last, tools))
        # What both have ends before the next speaker's header.
        text = self._of_calls(_shared(last, goes_on), tools)
        return self._end(text or self._known_in(goes_on, tools))

    def _of_calls(self, tail: str, tools: list[Any] | None) -> str:
        """The end in what stands behind a call: tokens that also stand between two calls only close one."""
        known = self._known_in(tail, tools)
        if known:
            return known
        own = [match[0] for match in self._own.finditer(tail) if match[0] not in self._within(tools)]
        return own[-1] if own else ""

    def _known_in(self, tail: str, tools: list[Any] | None) -> str:
        """The first end of answers that call nothing."""
        ends = [self.last, self._of(_spoken(), "user", tools)]
        texts = {end.text.strip() for end in ends if end is not None and end.is_stop}
        return next((match[0] for match in self._own.finditer(tail) if match[0] in texts), "")

    def _of_the_next(self, answer: ChatMessage, follows: str, tools: list[Any] | None) -> End | None:
        """The next speaker's token; that of the one whose turn it is, where nobody speaks."""
        if follows == "assistant":
            return None  # It would be the one that an answer is asked for with.
        last = self._tail(answer, "", tools)
        speaker = follows or ("tool" if "tool_calls" in answer.more else "user")
        goes_on = self._tail(answer, speaker, tools)
        if last is None or goes_on is None or not goes_on.startswith(last):
            return None
        text = self._first(goes_on[len(last) :])
        starts = text.strip() == self._tokenizer.bos_token != self._tokenizer.eos_token
        end = None if starts else self._end(text)
        return None if end is None else replace(end, is_written=bool(follows))

    def _within(self, tools: list[Any] | None) -> set[str]:
        """Tokens that the template writes within an answer: between thought, words and calls."""
        if bool(tools) not in self._inside:
            self._inside[bool(tools)] = found = set()
            tried = [[replace(_spoken(SECOND), more={name: FIRST})] for name in THOUGHTS]
            tried += [[replace(_calling(SECOND), content=FIRST)], [_calling(FIRST, SECOND)]]
            for messages in tried:
                for text in self._texts(messages, tools):
                    if FIRST in text and SECOND in text:
                        one, other = sorted([FIRST, SECOND], key=text.index)
                        found.update(self._own.findall(text.partition(one)[2].partition(other)[0]))
        return self._inside[bool(tools)]

    def _tail(self, answer: ChatMessage, follows: str, tools: list[Any] | None) -> str | None:
        """What stands behind the answer's word, up to that of the next message; None where one is not written."""
        more = {"tool_call_id": ID, "name": NAME} if follows == "tool" else {}
        following = [ChatMessage(role=follows, content=SECOND, more=more)] if follows else []
        for text in self._texts([answer, *following], tools):
            tail, is_there, _ = text.rpartition(FIRST)[2].partition(SECOND)
            if FIRST in text and bool(is_there) == bool(follows):
                return tail
        return None

    def _texts(self, messages: Sequence[ChatMessage], tools: list[Any] | None) -> Iterator[str]:
        """The conversation as the template writes it, with arguments in each form that it takes."""
        asked = (ASKED, *messages)
        for form in other_forms(asked) or [asked]:
            try:
                yield self._text.render([plain_message(message) for message in form], False, "a tried call", tools)
            except UserError:
                continue

    def _first(self, tail: str) -> str:
        """The token that a text begins with, and the white space before it."""
        rest = tail.lstrip()
        own = self._own.match(rest)
        return "" if own is None else tail[: len(tail) - len(rest)] + own[0]

    def _end(self, text: str) -> End | None:
        """The end with its token; generation knows no other stop than tokens."""
        if not text.strip():
            return None
        alone: list[int]
        ended: list[int]
        # Behind a word: a token that was added without being special may be one at a text's beginning alone.
        alone, ended = self._tokenizer([FIRST, FIRST + text.strip()], add_special_tokens=False)["input_ids"]
        if ended[:-1] != alone:
            raise UserError(
                f"template=chat: the chat template of {self._text.name} ends an answer with {text!r}, of which the "
                f"tokenizer makes {len(ended) - len(alone)} tokens, so nothing would stop a model there; add it to the "
                "tokenizer as a special token"
            )
        return End(text=text, token=ended[-1])


def behind_words(
    answer: ChatMessage,
    whole: str,
    start: int,
    limit: int,
    found: Sequence[WrittenWords],
    calls_end: int | None,
) -> int | None:
    """The character behind an answer's words and calls; None where they do not all stand between the two places."""
    stops = [words.stop for words in found if words.start == found[-1].start and start <= words.place < limit]
    if (found and not stops) or (calls_end is not None and not start <= calls_end <= limit):
        return None
    words = answer.content.strip()
    place = -1 if stops else whole.find(words, start, limit)
    after = max([start, *stops]) if place < 0 else place + len(words)
    if calls_end is not None:
        return max(after, calls_end)
    for name in called_names(answer):
        # Words and calls may be messages of their own in the template, each with an end.
        after = max(after, whole.find(name, after, limit))
    return after


def _shared(one: str, other: str) -> str:
    """What two texts begin with."""
    length = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return min(one, other, key=len) if length is None else one[:length]


def _spoken(content: str = FIRST) -> ChatMessage:
    return ChatMessage(role="assistant", content=content)


def _calling(*words: str) -> ChatMessage:
    """An answer that calls a tool with each of the words."""
    calls = [{"id": ID, "type": "function", "function": {"name": NAME, "arguments": {"plw": word}}} for word in words]
    return ChatMessage(role="assistant", content="", more={"tool_calls": calls})
