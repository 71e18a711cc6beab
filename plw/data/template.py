"""Templates: a record becomes segments of text, each with the role that its tokens have in the loss."""

import re
from dataclasses import dataclass
from typing import Literal

from plw.config.training import TemplateConfig
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord, Record

Role = Literal["prompt", "completion"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text that the model is given (``prompt``) or has to produce (``completion``)."""

    role: Role
    text: str


@dataclass(frozen=True)
class AlpacaTemplate:
    """One prompt and one completion, filled in from the config's texts.

    Only the template's own slots are filled: ``{input}`` inside an instruction stays as it is.
    """

    config: TemplateConfig

    def segments(self, record: AlpacaRecord) -> list[Segment]:
        """The prompt, with or without an input, and the completion."""
        prompt = self.config.with_input if record.input else self.config.without_input
        fields = {"instruction": record.instruction, "input": record.input, "output": record.output}
        return [
            Segment("prompt", _fill(prompt, fields)),
            Segment("completion", _fill(self.config.completion, fields)),
        ]

    def prompt(self, instruction: str, given: str = "") -> str:
        """The prompt alone, for generation; ``given`` is the record's input."""
        return self.segments(AlpacaRecord(instruction=instruction, input=given, output=""))[0].text


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
        for message in record.messages:
            if message.role == "assistant":
                segments.append(Segment("prompt", f"{pending}<|assistant|>\n"))
                segments.append(Segment("completion", message.content))
                pending = "\n"
            else:
                pending += f"<|{message.role}|>\n{message.content}\n"
        return segments


def request_text(instruction: str, given: str, template: TemplateConfig, record_format: str) -> str:
    """A benchmark's request as a model is asked it: in the form of the records that it was trained on.

    A model of chats gets instruction and input as one message of the user, with a blank line between them.
    """
    if record_format == "alpaca":
        return AlpacaTemplate(template).prompt(instruction, given)
    asked = ChatMessage(role="user", content=f"{instruction}\n\n{given}" if given else instruction)
    return ChatTemplate().segments(ChatRecord(messages=(asked, ChatMessage(role="assistant", content=""))))[0].text


def record_segments(record: Record, template: TemplateConfig) -> list[Segment]:
    """The segments of a record of either form; the config's texts serve the Alpaca form."""
    if isinstance(record, ChatRecord):
        return ChatTemplate().segments(record)
    return AlpacaTemplate(template).segments(record)


def _fill(text: str, fields: dict[str, str]) -> str:
    return re.sub(r"\{(instruction|input|output)\}", lambda match: fields[match.group(1)], text)
