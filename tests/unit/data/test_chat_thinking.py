"""The role `thinking`, in whatever tags a chat template writes what the assistant thinks."""

import numpy as np
import pytest

from plw.config.loss import ROLES
from plw.data.chat import ChatRenderer
from plw.data.encoding import encode
from plw.data.records import ChatMessage, ChatRecord
from plw.testing.tokenizers import byte_level_tokenizer

OWN = {"reasoning_content": "hm"}
CASES: dict[str, tuple[str, str, dict[str, str], list[str]]] = {
    "tags": ("<think>{{ m.reasoning_content }}</think>{{ m.content }}", "It.", OWN, ["<think>hm</think>"]),
    "a channel": ("<|channel>thought {{ m.reasoning_content }}<channel|>{{ m.content }}", "It.", OWN,
                  ["<|channel>thought hm"]),
    "an empty thought before its own": ("<think>\n\n</think>\n{{ m.content }}", "<think>hm</think>\nIt.", {},
                                        ["<think>\n\n</think>\n<think>hm</think>\n"]),
    "a header in the marks": ("{% generation %}<|a|>{{ m.content }}<|end|>{% endgeneration %}", "<think>hm</think>It.",
                              {}, ["<|a|><think>hm</think>"]),
    "stripped, with the words of the answer": ("{{ m.content }}", "hm", OWN, []),
    "stripped, with words of the answer": ("{{ m.content }}", "hm, hm", OWN, []),
}  # fmt: skip
"""How an answer is written, its content and fields, and the stretches that are thinking."""


@pytest.mark.parametrize("case", CASES)
def test_thinking_is_found_in_any_tags(case: str) -> None:
    form, content, fields, expected = CASES[case]
    end = "" if "<|end|>" in form else "<|end|>"
    tokenizer = byte_level_tokenizer(size=256)
    tokenizer.add_tokens(["<|u|>", "<|a|>", "<|end|>", "<|last|>"], special_tokens=True)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}<|u|>{{ m.content }}<|end|>{% else %}<|last|>"
        # Of earlier answers templates strip the thought; the last one's has to be written.
        + (form if expected else "{% if loop.last %}{{ m.reasoning_content }}{% endif %}" + form)
        + end
        + "{% endif %}{% endfor %}{% if add_generation_prompt %}<|last|>{% endif %}"
    )
    asked = ChatMessage(role="user", content="Say it.")
    answers = [ChatMessage(role="assistant", content=content, more=fields)]
    if not expected:
        answers.append(ChatMessage(role="assistant", content="Other.", more={"reasoning_content": "well "}))
    messages = tuple(message for answer in answers for message in (asked, answer))
    segments = ChatRenderer(tokenizer).segments(ChatRecord(messages=messages))
    (example,) = encode([segments], tokenizer, max_length=999, end_of_sequence=False, fine_roles=True).examples
    is_thinking_T = example.role_T == ROLES.index("thinking")
    starts = np.flatnonzero(np.diff(is_thinking_T.astype(int), prepend=0) == 1)
    found = []
    for start in starts:
        stop = start + int(np.argmin(is_thinking_T[start:]))
        found.append(tokenizer.decode(example.token_T[start:stop], skip_special_tokens=False))
    assert found == (expected or ["well"])
