"""How records and requests are written for a model: by the config's texts, or by the tokenizer's own chat template."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from plw.config.training import TemplateConfig
from plw.data.chat import ChatRenderer
from plw.data.records import AlpacaRecord, ChatMessage, ChatRecord, Record
from plw.data.template import AlpacaTemplate, Segment, dialogue_text, record_segments, request_text
from plw.data.weights import WeightSpan
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNWRITTEN = ("tool_calls", "reasoning_content", "thinking")
"""Fields of a message that a template of texts has no place for."""


class Renderer:
    """One template, and the tokenizer whose chat template it may be; texts are written without one.

    Raises:
        UserError: the tokenizer's chat template is asked for, and there is none or one that cannot be learned from.
    """

    def __init__(self, template: TemplateConfig, tokenizer: "PreTrainedTokenizerBase | None") -> None:
        self.template, self._tokenizer, self._chat = template, tokenizer, None
        if template.kind == "chat":
            assert tokenizer is not None
            self._chat = ChatRenderer(tokenizer)

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that end an answer beside the tokenizer's EOS, as far as records were rendered."""
        return [] if self._chat is None else self._chat.end_tokens

    @property
    def before_words(self) -> int | None:
        """The added token behind which the words of a model's answer begin; None where they are all of it."""
        return None if self._chat is None else self._chat.before_words

    def segments(self, record: Record) -> list[Segment]:
        """The record as prompts and completions.

        Raises:
            UserError: a conversation that the template cannot write; the line names file and row.
        """
        if self._chat is not None:
            return self._chat.segments(self._as_chat(record))
        if isinstance(record, ChatRecord):
            self._check_written(record)
        return record_segments(record, self.template)

    def _check_written(self, record: ChatRecord) -> None:
        """That a conversation has nothing which a template of texts would leave out."""
        fields = [f"a message has {name}" for message in record.messages for name in UNWRITTEN if name in message.more]
        for found in [*fields, *(["it has tools"] if record.tools else [])]:
            raise UserError(
                f"{record.where}: {found}, which template={self.template.name} does not write; choose template=chat, "
                "with a model whose chat template does, or leave it out"
            )

    def request(
        self,
        instruction: str,
        given: str,
        record_format: str,
        system: str | None = None,
        where: str = "a benchmark's request",
    ) -> str:
        """A benchmark's request as a model is asked it: in the form that it was trained on.

        Args:
            instruction: What is asked.
            given: Its input; empty for none.
            record_format: Form of the records that the model was trained on.
            system: The system message before it, which may be empty; None for none.
            where: Names the request, for messages.

        Raises:
            UserError: the tokenizer's chat template refuses it, or leaves its system message out.
        """
        if self._chat is None:
            return request_text(instruction, given, self.template, record_format, system)
        said = [] if system is None else [ChatMessage(role="system", content=system)]
        asked = self._question(AlpacaRecord(instruction=instruction, input=given, output=""))
        return self._chat.request([*said, asked], where)

    def dialogue(self, questions: Sequence[str], answers: Sequence[str], record_format: str) -> str:
        """The request of a dialogue's next answer, as :func:`plw.data.template.dialogue_text` writes it.

        Args:
            questions: What the user says, one more than the answers.
            answers: The model's own so far.
            record_format: Form of the records that the model was trained on.
        """
        if self._chat is None:
            end = str(getattr(self._tokenizer, "eos_token", "") or "") if self.template.end_of_sequence else ""
            return dialogue_text(questions, answers, self.template, record_format, end)
        messages = [ChatMessage(role="user", content=questions[0])]
        for answer, question in zip(answers, questions[1:], strict=True):
            messages += [ChatMessage(role="assistant", content=answer), ChatMessage(role="user", content=question)]
        return self._chat.request(messages)

    def words(self, completion: Segment) -> str:
        """A completion without what marks its end, a chat template's or EOS as the data write it, from its words on."""
        if self._chat is not None:
            return self._chat.words(completion)
        marker = self.template.eos_marker
        return completion.text.replace(marker, "") if marker else completion.text

    def _as_chat(self, record: Record) -> ChatRecord:
        """A record without turns is one message of the user, made by the config's texts, and one of the assistant.

        Its system message and earlier turns are messages before them.
        A marker of EOS at an answer's end is left out: the chat template ends an answer itself.
        """
        marker = self.template.eos_marker or ""
        if isinstance(record, ChatRecord):
            ended = [m.role == "assistant" and bool(marker) and m.content.endswith(marker) for m in record.messages]
            if not any(ended):
                return record
            messages = zip(record.messages, ended, strict=True)
            return replace(record, messages=tuple(self._unmarked(m, record.where) if end else m for m, end in messages))
        said = [ChatMessage(role="system", content=record.system)] if record.system else []
        for asked, answer in record.history:
            turn = AlpacaRecord(instruction=asked, output=answer.removesuffix(marker))
            said += [self._question(turn), ChatMessage(role="assistant", content=turn.output)]
        answered = ChatMessage(
            role="assistant", content=record.output, spans=tuple(s for s in record.spans if s.field == "output")
        )
        question = self._question(replace(record, system="", history=()))
        answered = self._unmarked(answered, record.where)
        return ChatRecord(messages=(*said, question, answered), weight=record.weight, where=record.where)

    def _unmarked(self, answer: ChatMessage, where: str) -> ChatMessage:
        """An answer without the marker of EOS at its end, if it has one."""
        content = answer.content.removesuffix(self.template.eos_marker or "")
        reaching = [span for span in answer.spans if span.end > len(content)]
        if reaching:
            raise UserError(
                f"{where}: a span from {reaching[0].start} to {reaching[0].end} reaches into the marker "
                f"{self.template.eos_marker} at {len(content)}, in whose place template={self.template.name} writes an "
                f"end of its own; allowed: an end of {len(content)} at most, or a weight of the message"
            )
        return replace(answer, content=content)

    def _question(self, record: AlpacaRecord) -> ChatMessage:
        asked, _ = AlpacaTemplate(self.template).segments(record)
        weighed = [span for span in asked.spans if span.weight != 1]
        spans = tuple(WeightSpan(start=span.start, end=span.end, weight=span.weight) for span in weighed)
        return ChatMessage(role="user", content=asked.text, spans=spans)
