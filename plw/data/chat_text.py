"""Texts of a tokenizer's chat template: what it makes of a conversation, the same on every day."""

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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


class ChatText:
    """Writes conversations as a tokenizer's chat template does.

    Raises:
        UserError: the tokenizer has none, or several of which none is the default.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer, self.name = tokenizer, tokenizer.name_or_path or "the tokenizer"
        if not tokenizer.chat_template:
            raise UserError(
                f"template=chat: {self.name} has no chat template; put a chat_template.jinja beside it, or choose "
                "another template"
            )
        self._check_default()

    def has_marks(self, tools: list[Any] | None) -> bool:
        """Whether the template of a conversation, with tools or without, marks what the assistant writes."""
        return MARKED.search(self._template(tools)) is not None

    def _template(self, tools: list[Any] | None) -> str:
        """The template of a conversation, with tools or without, that writes the same date on every day."""
        template: str = self.tokenizer.get_chat_template(tools=tools)
        return FIXED_DATE + template if "strftime_now" in template else template

    def marked(
        self, plain: list[dict[str, Any]], where: str, tools: list[Any] | None
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text of a conversation, and the first and last character of each stretch that the template marks."""
        from transformers.utils.chat_template_utils import render_jinja_template

        render: Any = render_jinja_template  # Its types say that it returns the text alone.
        with self._refusals(where):
            texts, marks = render(
                [plain],
                tools=tools,
                chat_template=self._template(tools),
                return_assistant_tokens_mask=True,
                date_string=DATE_STRING,
                **self.tokenizer.special_tokens_map,
            )
        return texts[0], [(int(start), int(end)) for start, end in marks[0]]

    def render(self, plain: list[dict[str, Any]], ask: bool, where: str, tools: list[Any] | None) -> str:
        """The text of a conversation, with the prompt for an answer behind it where one is asked for.

        Raises:
            UserError: the template refuses it; ``where`` names the conversation.
        """
        with self._refusals(where):
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
    def _refusals(self, where: str) -> Iterator[None]:
        """A template's own complaint, and whatever else goes wrong in it, as one line."""
        try:
            yield
        except Exception as error:  # Templates are programs: they raise what Jinja and Python have.
            reason = shortened(" ".join(str(error).split()) or type(error).__name__, 120)
            raise UserError(f"{where}: the chat template of {self.name} refuses the conversation ({reason})") from None

    def _check_default(self) -> None:
        """That one of several templates serves where nothing is said of tools."""
        named_ones = self.tokenizer.chat_template
        if isinstance(named_ones, dict) and "default" not in named_ones:
            raise UserError(
                f"template=chat: {self.name} has the chat templates {', '.join(named_ones)} and none named "
                "default; name one so, or put a chat_template.jinja beside it"
            )
