"""Tables as people hand them over: any Unicode encoding; other separators and unprintable names are told in a line."""

from pathlib import Path

import pytest

from analysis.scores.csv_table import line_of, read_columns, read_scores
from plw.errors import UserError

ROWS = ["benchmark,plw,score", "arc,0.1,0.5", "piqa,0.2,0.6"]


def table(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def read(path: Path) -> dict[str, list[object]]:
    return read_columns(path, units=("plw", "score"), labels=("benchmark",)).to_dict("list")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encoding_and_line_ends_do_not_matter(encoding: str, end: str, tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", end.join(ROWS), encoding)
    assert read(path) == {"plw": [0.1, 0.2], "score": [0.5, 0.6], "benchmark": ["arc", "piqa"]}


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator_is_named(separator: str, word: str, tmp_path: Path) -> None:
    for decimal in (".", ","):
        rows = [row.replace(",", separator).replace(".", decimal) for row in ROWS]
        path = table(tmp_path / "s.csv", "\n".join(rows))
        for reader in (read, read_scores):
            with pytest.raises(UserError) as caught:
                reader(path)
            assert word in str(caught.value)
            assert "commas" in str(caught.value)


@pytest.mark.parametrize("name", ["a\x07b", "a\x1b[31mb", "a\u202eb", '"two\nlines"'])
def test_a_name_that_cannot_be_shown_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "\n".join([*ROWS, "", f"{name},0.1,0.5"]))
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: row 5: benchmark ")
    assert "\n" not in line
    assert line.isprintable()


@pytest.mark.parametrize("name", ["ARC", "arc ", " Arc"])
def test_a_name_that_an_earlier_row_writes_otherwise_is_told(name: str, tmp_path: Path) -> None:
    """It would be a benchmark of its own."""
    path = table(tmp_path / "s.csv", "\n".join([*ROWS, f"{name},0.1,0.5"]))
    with pytest.raises(UserError, match=rf"row 4: benchmark is '{name}', and row 2 has 'arc'; write one name alike"):
        read(path)


def test_a_row_is_the_line_on_which_it_begins(tmp_path: Path) -> None:
    """As an editor counts, over blank lines and fields of several lines."""
    path = table(tmp_path / "s.csv", 'a,b\n1,2\n\n\n"3\n3",4\n5,6\n')
    assert [line_of(path, place) for place in range(3)] == [2, 5, 7]
    path = table(tmp_path / "bad.csv", "\n".join([ROWS[0], "", "", "arc,0.1,high"]))
    with pytest.raises(UserError, match="row 4: score is 'high'"):
        read(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({1: "arc,0.1,0.5,", 2: "piqa,0.2,0.6,"}, "row 2 has 4 fields, the header 3; it ends in a comma"),
        ({2: "piqa,0.2,0.6,0.7"}, "row 3 has 4 fields, the header 3"),
        ({2: "piqa,0.2"}, "row 3 has 2 fields, the header 3"),
        ({2: "\n\npiqa,0.2"}, "row 5 has 2 fields, the header 3"),
        ({0: "benchmark,plw,score,score", 1: "arc,0.1,0.5,0.9"}, "the header has the column 'score' twice"),
    ],
)
def test_rows_have_as_many_fields_as_the_header(changed: dict[int, str], said: str, tmp_path: Path) -> None:
    """pandas takes the first field of longer rows for a name of the row, and moves every column."""
    path = table(tmp_path / "s.csv", "\n".join(changed.get(number, row) for number, row in enumerate(ROWS)))
    for reader in (read, read_scores):
        with pytest.raises(UserError) as caught:
            reader(path)
        assert str(caught.value) == f"{path}: {said}"


def test_commas_that_end_the_header_too_do_not_matter(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "\n".join(f"{row},," for row in ROWS))
    assert read(path) == {"plw": [0.1, 0.2], "score": [0.5, 0.6], "benchmark": ["arc", "piqa"]}


def test_a_line_of_blanks_is_no_row(tmp_path: Path) -> None:
    path = table(tmp_path / "s.csv", "\n".join([ROWS[0], "   ", *ROWS[1:], "piqa,0.1,high"]))
    with pytest.raises(UserError, match="row 5: score is 'high'"):
        read(path)
