"""Arguments of tool calls in the form that a chat template writes: objects, as templates mostly want, or JSON texts.

OpenAI's data have texts. A template that writes JSON makes of one a text in quotation marks, with every quotation mark
in it escaped; one that joins texts writes an object as Python does, or fails.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from plw.data.records import ChatMessage


def other_forms(messages: Sequence[ChatMessage]) -> list[tuple[ChatMessage, ...]]:
    """The messages with all arguments as objects, and as texts; nothing where no message calls a tool."""
    if not any("tool_calls" in message.more for message in messages):
        return []
    return [tuple(_changed(message, form) for message in messages) for form in (_object, _text)]


def is_miswritten(messages: Sequence[ChatMessage], whole: str) -> bool:
    """Whether a template's text has arguments as an escaped text, or as Python writes an object."""
    for arguments in _arguments(messages):
        if isinstance(arguments, str):
            # Of a text without quotation marks there is nothing to escape.
            if '"' in arguments and json.dumps(arguments, ensure_ascii=False) in whole:
                return True
        elif str(arguments) != _text(arguments) and str(arguments) in whole:
            return True
    return False


def called_names(message: ChatMessage) -> list[str]:
    """The tools that a message calls, by their names, in its order."""
    names = [_function(call).get("name") for call in _calls(message)]
    return [name for name in names if isinstance(name, str)]


def with_mark(message: ChatMessage, mark: str) -> ChatMessage:
    """The message with a mark behind each text in the arguments of its calls."""

    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: marked(part) for name, part in value.items()}
        if isinstance(value, list):
            return [marked(part) for part in value]
        return value + mark if isinstance(value, str) else value

    return _changed(message, marked)


def _arguments(messages: Sequence[ChatMessage]) -> Iterator[Any]:
    for message in messages:
        for call in _calls(message):
            found = _function(call).get("arguments")
            if found is not None:
                yield found


def _calls(message: ChatMessage) -> list[Any]:
    calls = message.more.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _function(call: dict[str, Any]) -> dict[str, Any]:
    """The part of a call that has name and arguments; some data leave out the object round it."""
    function = call.get("function", call)
    return function if isinstance(function, dict) else {}


def _changed(message: ChatMessage, form: Callable[[Any], Any]) -> ChatMessage:
    if not _calls(message):
        return message
    calls = []
    for call in _calls(message):
        function = _function(call)
        if "arguments" in function:
            function = {**function, "arguments": form(function["arguments"])}
        calls.append({**call, "function": function} if "function" in call else function)
    return replace(message, more={**message.more, "tool_calls": calls})


def _object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        found = json.loads(arguments)
    except ValueError:
        return arguments
    return found if isinstance(found, dict) else arguments


def _text(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
