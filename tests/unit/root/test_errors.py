"""A mistake is one line that a terminal can show, whatever the words in it hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plw.errors import LINE_LENGTH, line_of_error, named, printable, shortened

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 😀", "plain é 日本 😀"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\u202eturned\u2028\ud83d", "\\u202eturned\\u2028\\ud83d"),
    ],
)
def test_what_cannot_be_shown_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert len(printable(text).splitlines()) == 1
    printable(text).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fits as it is", "fits as it is"),
        ("is cut at a word's end", "is cut at a ..."),
        ("stays\nand ends at it", "stays\nand ..."),
        ("averyveryverylongname", "averyveryve ..."),
        ("", ""),
    ],
)
def test_a_long_text_ends_at_a_word_with_an_ellipsis(text: str, shown: str) -> None:
    assert shortened(text, 15) == shown


def test_of_many_names_the_first_are_shown() -> None:
    assert named([]) == "none"
    assert named(["a", 3]) == "a, 3"
    assert named(f"c{i}" for i in range(2000)).endswith("c18, c19, 1,980 more")
    assert len(named(["x" * 10_000] * 30)) < 1000


def test_a_line_has_an_end_whatever_a_file_holds() -> None:
    assert line_of_error("plw: short\n") == "plw: short\\n"
    line = line_of_error(f"plw: data.json: row 3: {'x y' * 100_000}; allowed: 0 to 1")
    assert len(line) <= LINE_LENGTH
    assert line.startswith("plw: data.json: row 3: x y")
    assert line.endswith("; allowed: 0 to 1")


def test_a_file_with_an_odd_name_is_one_line() -> None:
    words = [sys.executable, "-m", "plw", "stats", b"no\n\x1b[31m\xff.json", "--tokenizer", "x"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"\x1b" not in done.stderr
    assert b"no\\n\\x1b[31m" in done.stderr
