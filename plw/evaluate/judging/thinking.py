"""What a model thinks before it speaks, where a server leaves it in the reply: told from the words by its marks.

A rating that is tried in thought would be read as the verdict.
"""

import re

_NAMES = ("think", "thinking", "thought", "reasoning", "seed:think")
"""Of DeepSeek, Qwen and those after them; of ByteDance's Seed."""
_FORMS = (
    *((f"<{name}>", f"</{name}>") for name in _NAMES),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Cohere
    (r"<\|channel\|>(?:analysis|commentary)", r"<\|channel\|>final<\|message\|>"),  # gpt-oss
)
"""How it begins and how it ends."""
_OPENED = rf"\A.*?^</(?:{'|'.join(_NAMES)})>"
_WHOLE = re.compile("|".join([*(rf"\A\s*{begin}.*?{end}" for begin, end in _FORMS), _OPENED]), re.DOTALL | re.MULTILINE)
"""A reply up to the end of its reasoning. Of one that a template has opened only the end stands there, on a line."""
_BEGUN = re.compile("|".join(rf"\A\s*{begin}" for begin, _ in _FORMS))
MARK = "\ufeff"
"""Byte order mark, which is no letter."""


def spoken_words(text: str) -> str:
    """A reply without the reasoning before its words; empty where the reasoning does not end."""
    text = text.removeprefix(MARK)
    spoken, found = _WHOLE.subn("", text, count=1)
    if found:
        return spoken.lstrip()
    return "" if _BEGUN.match(text) else text
