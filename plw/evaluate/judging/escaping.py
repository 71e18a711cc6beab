"""Answers that cannot pass for parts of a judge's prompt: a model's text never opens a section of the template.

A template marks its sections by lines that begin with ``#``. Text that goes into it keeps every character, save that a
line which would read as such a heading is moved one space to the right, and that chat markers and the template's own
slots are broken by a space. ChatML's markers are broken everywhere, those of the Llama and Mixtral format where the
template uses them. Ordinary answers are left untouched.
"""

import re

CHAT_MARKERS = ("<|im_start|>", "<|im_end|>")
INST_MARKERS = ("[INST]", "[/INST]", "<s>", "</s>")
"""Of the format that Llama 2 and Mixtral are asked in; servers read the last two as special tokens."""
_SLOT = re.compile(r"\{[^{}\s]+\}")


def headings(template: str, opened_by: tuple[str, ...] = ("#",)) -> tuple[str, ...]:
    """The lines of a prompt template that open a section, in order, without trailing space."""
    return tuple(dict.fromkeys(line.rstrip() for line in template.splitlines() if line.startswith(opened_by)))


def escape(text: str, template: str, opened_by: tuple[str, ...] = ("#",)) -> str:
    """``text`` as it may stand in ``template``: no line of it is a heading, no part of it a chat marker or a slot.

    Idempotent, and the identity on text that contains none of the three.

    Args:
        text: An answer, or another field.
        template: The judge's prompt.
        opened_by: How lines begin that open a section.
    """
    for marker in (*CHAT_MARKERS, *(INST_MARKERS if "[INST]" in template else ())):
        text = text.replace(marker, f"{marker[:2]} {marker[2:]}")
    for slot in dict.fromkeys(_SLOT.findall(template)):
        text = text.replace(slot, "{ " + slot[1:])
    for heading in headings(template, opened_by):
        # A line also begins after the separators that str.splitlines knows, and a reader may strip them.
        text = re.sub(rf"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])(?={re.escape(heading)})", r"\1 ", text)
    return text
