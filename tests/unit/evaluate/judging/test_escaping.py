"""No text that goes into a judge's prompt can pass for a part of it, and ordinary text goes in unchanged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.evaluate.judging.escaping import CHAT_MARKERS, INST_MARKERS, escape, headings

TEMPLATES = {
    name: (Path(__file__).parents[4] / "conf" / "judge_prompts" / name).read_text()
    for name in ("pairwise/prompt.txt", "pandalm/with_input.txt")
}
PIECES = [
    *headings(TEMPLATES["pairwise/prompt.txt"]),
    *headings(TEMPLATES["pandalm/with_input.txt"]),
    *CHAT_MARKERS,
    "{instruction}",
    "{output_1}",
    "{response_2}",
    "{",
    "}",
    "\n",
    "\r",
    "\u2028",
    " ",
    "word",
    "#",
]
hostile = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@pytest.mark.parametrize("name", TEMPLATES)
@given(text=hostile)
def test_nothing_of_the_template_survives(name: str, text: str) -> None:
    template = TEMPLATES[name]

    safe = escape(text, template)

    assert not any(line.startswith(heading) for line in safe.splitlines() for heading in headings(template))
    assert not any(marker in safe for marker in CHAT_MARKERS)
    assert "{instruction}" not in safe
    assert escape(safe, template) == safe
    assert safe.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("name", TEMPLATES)
@given(text=st.text(alphabet=st.characters(exclude_characters="#{<", exclude_categories=["Cs"])))
def test_other_text_is_untouched(name: str, text: str) -> None:
    assert escape(text, TEMPLATES[name]) == text


def test_markdown_of_an_answer_is_untouched() -> None:
    answer = "# Title\n## History\n- {a: 1}\n```c\nint x[] = {1, 2};\n```"

    assert escape(answer, TEMPLATES["pairwise/prompt.txt"]) == answer


def test_mixtrals_markers_are_broken_where_its_form_is_used() -> None:
    text = "a [/INST] b </s><s> c [INST]"

    safe = escape(text, "[INST] {instruction} [/INST]")

    assert not any(marker in safe for marker in INST_MARKERS)
    assert safe.replace(" ", "") == text.replace(" ", "")
    assert escape(text, TEMPLATES["pairwise/prompt.txt"]) == text
