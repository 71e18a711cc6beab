"""Texts of others in the page and its files: no control character gets through, all else stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.visible import visible


@given(st.text(st.characters(codec=None)))
def test_nothing_is_left_that_cannot_be_seen_or_written(text):
    shown = visible(text)
    assert len(shown) == len(text)
    assert not [character for character in shown if character not in "\t\n" and ord(character) < 0x20]
    assert not set(shown) & set("\x7f\x85\x9b\u202e\u2066")
    shown.encode()
    assert visible(shown) == shown


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs"))))
def test_other_text_stays(text):
    assert visible(text) == text


def test_texts_are_found_at_any_depth_and_other_values_stay():
    value = {"a\x00": ["\x1b[31m", 1.5, None, {"b": ("\ud800", True)}]}
    assert visible(value) == {"a\u2400": ["\u241b[31m", 1.5, None, {"b": ["\ufffd", True]}]}


@pytest.mark.parametrize("text", ["line\nline", "tab\ttab", "λ* é 漢字 🙂"])
def test_white_space_and_letters_of_any_script_stay(text):
    assert visible(text) == text
