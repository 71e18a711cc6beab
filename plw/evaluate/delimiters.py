"""Answers that cannot pass for parts of a judge's prompt: a model's text never opens a section of the template.

A template marks its sections by lines that begin with ``#``. Text that goes into it keeps every character, save that a
line which would read as such a heading is moved one space to the right, and that chat markers and the template's own
slots are broken by a space. Ordinary answers are left untouched.
"""

import re

CHAT_MARKERS = ("<|im_start|>", "<|im_end|>")
_SLOT = re.compile(r"\{[^{}\s]+\}")


def headings(template: str) -> tuple[str, ...]:
    """The lines of a prompt template that open a section, in order, without trailing space."""
    return tuple(dict.fromkeys(line.rstrip() for line in template.splitlines() if line.startswith("#")))


def neutralise(text: str, template: str) -> str:
    """``text`` as it may stand in ``template``: no line of it is a heading, no part of it a chat marker or a slot.

    Idempotent, and the identity on text that contains none of the three.
    """
    for marker in CHAT_MARKERS:
        text = text.replace(marker, marker[:2] + " " + marker[2:])
    for slot in dict.fromkeys(_SLOT.findall(template)):
        text = text.replace(slot, "{ " + slot[1:])
    for heading in headings(template):
        # A line also begins after the separators that str.splitlines knows, and a reader may strip them.
        text = re.sub(rf"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])(?={re.escape(heading)})", r"\1 ", text)
    return text
