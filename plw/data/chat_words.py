"""Where the words of a conversation stand in the text that a chat template has made of it.

A user's word may also stand in a header, a tool's name or the template's own system message. So the conversation is
rendered once more with a private character before and after each message's words: where they come out, and taking them
out gives the text itself, they say where the words are.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from plw.data.records import ChatMessage
from plw.data.template import THINKING, Span
from plw.data.tool_calls import with_mark
from plw.errors import UserError

PRIVATE = re.compile("[\U00100000-\U0010fffd]")
"""Unicode's last area for private use."""
THOUGHTS = ("reasoning_content", "thinking")
"""Fields of a message that have what the assistant thinks before it answers."""


@dataclass(frozen=True, slots=True)
class WrittenWords:
    """Characters ``start`` to before ``end`` of a message; the template has written them from ``place`` to ``stop``."""

    start: int
    end: int
    place: int
    stop: int


def plain_message(message: ChatMessage, content: str | None = None) -> dict[str, Any]:
    """A message as templates read it."""
    return {"role": message.role, "content": message.content if content is None else content, **message.more}


def own_thought(message: ChatMessage) -> tuple[str, str]:
    """What an answer thinks, from its own field or the beginning of its words, and its other words."""
    thought = THINKING.match(message.content)
    given = [str(message.more[name]) for name in THOUGHTS if name in message.more]
    if given or thought is None:
        return "".join(given[:1]), message.content
    return thought[1], message.content[thought.end() :]


def find_words(
    messages: Sequence[ChatMessage],
    whole: str,
    render: Callable[[list[dict[str, Any]]], str],
    keeps_space: Callable[[str], bool],
) -> list[list[WrittenWords]] | None:
    """The words of each message: one stretch, two where an answer thinks before it.

    Args:
        messages: of the conversation.
        whole: what the template made of them.
        render: makes a text of messages.
        keeps_space: of a role, whether white space at the ends of its messages is written, and so is part of the words.

    Returns:
        A list for each message, empty where the template has left its words out; None where the template does not make
        the same text of the messages once private characters stand in them.
    """
    kept = {message.role: keeps_space(message.role) for message in messages}
    found = _found(messages, whole, render, kept)
    # Some kinds of white space may be written and others not.
    return _found(messages, whole, render, {}) if found is None and any(kept.values()) else found


def find_call_ends(
    messages: Sequence[ChatMessage], whole: str, render: Callable[[list[dict[str, Any]]], str]
) -> list[int | None]:
    """The character behind the last text in the arguments of each message's calls; None where it cannot be told.

    Args:
        messages: of the conversation.
        whole: what the template made of them.
        render: makes a text of messages.
    """
    nowhere: list[int | None] = [None] * len(messages)
    if not any("tool_calls" in message.more for message in messages):
        return nowhere
    free = _free_marks(set(PRIVATE.findall(whole)))
    marks = [next(free) for _ in messages]
    marked = [plain_message(with_mark(message, mark)) for message, mark in zip(messages, marks, strict=True)]
    try:
        text = render(marked)
    except UserError:
        return nowhere
    ours = re.compile(f"[{''.join(marks)}]")
    ends = {match[0]: match.start() - number for number, match in enumerate(ours.finditer(text))}
    return [ends.get(mark) for mark in marks] if ours.sub("", text) == whole else nowhere


def _free_marks(taken: Collection[str]) -> Iterator[str]:
    """Private characters that are not taken."""
    return (mark for mark in map(chr, range(0x100000, 0x10FFFE)) if mark not in taken)


def _found(
    messages: Sequence[ChatMessage],
    whole: str,
    render: Callable[[list[dict[str, Any]]], str],
    kept: Mapping[str, bool],
) -> list[list[WrittenWords]] | None:
    taken = set(PRIVATE.findall("".join([whole, *(message.content for message in messages)])))
    free = _free_marks(taken)
    pieces_M = [
        [(start, end, next(free), next(free)) for start, end in _pieces(message, kept.get(message.role, False))]
        for message in messages
    ]
    marked = [
        plain_message(message, _marked(message.content, pieces))
        for message, pieces in zip(messages, pieces_M, strict=True)
    ]
    try:
        text = render(marked)
    except UserError:
        return None
    places: dict[str, list[int]] = {}
    own = (match for match in PRIVATE.finditer(text) if match[0] not in taken)
    for number, match in enumerate(own):
        places.setdefault(match[0], []).append(match.start() - number)
    if PRIVATE.sub(lambda match: match[0] if match[0] in taken else "", text) != whole:
        return None
    return [
        [
            WrittenWords(start, end, place, stop)
            for start, end, before, after in pieces
            # A template may write a message twice; where it writes one side alone, it has cut the words.
            for place, stop in zip(places.get(before, []), places.get(after, []), strict=False)
        ]
        for pieces in pieces_M
    ]


def _pieces(message: ChatMessage, keeps_space: bool) -> Iterator[tuple[int, int]]:
    """The stretches of a message that a template may write apart: what is thought, and the rest."""
    content, rest = message.content, 0
    if message.role == "assistant" and (thought := THINKING.match(content)):
        rest = thought.end()
        yield from _stripped(content, *thought.span(1))
    if not keeps_space:
        yield from _stripped(content, rest, len(content))
    elif rest < len(content):
        yield rest, len(content)


def _stripped(content: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    words = content[start:end].strip()
    if words:
        first = content.index(words, start)
        yield first, first + len(words)


def _marked(content: str, pieces: Sequence[tuple[int, int, str, str]]) -> str:
    written, done = [], 0
    for start, end, before, after in pieces:
        written += [content[done:start], before, content[start:end], after]
        done = end
    return "".join([*written, content[done:]])


def weighted_words(message: ChatMessage, found: Sequence[WrittenWords], whole: str) -> list[Span] | None:
    """The message's stretches with a weight of their own, where they stand in the text.

    Args:
        message: its stretches are characters of its content.
        found: its words.
        whole: the text.

    Returns:
        None where the template has changed the words of a stretch, or left them out.
    """
    written = [words for words in found if whole[words.place : words.stop] == message.content[words.start : words.end]]
    written = [_widened(words, written, message.content, whole) for words in written]
    spans: list[Span] = []
    for span in message.spans:
        reached = [False] * (span.end - span.start)
        for words in written:
            start, end = max(span.start, words.start), min(span.end, words.end)
            if start < end:
                shift = words.place - words.start
                spans.append(Span(start + shift, end + shift, message.role, span.weight))
                reached[start - span.start : end - span.start] = [True] * (end - start)
        stretch = message.content[span.start : span.end]
        if any(not there and not letter.isspace() for there, letter in zip(reached, stretch, strict=True)):
            return None
    return spans


def _widened(words: WrittenWords, written: Sequence[WrittenWords], content: str, whole: str) -> WrittenWords:
    """The words with what stands before them in the message, where that is written too: the tags round a thought."""
    before = content[max([other.end for other in written if other.end <= words.start], default=0) : words.start]
    # White space at a header's end may look like a message's own.
    if not before.strip() or not whole.endswith(before, 0, words.place):
        return words
    return replace(words, start=words.start - len(before), place=words.place - len(before))
