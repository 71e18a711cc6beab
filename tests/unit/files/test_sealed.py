"""A file of ours that a disk has changed is told from one that was written so."""

import json
from pathlib import Path
from typing import Any

import pytest

from plw.errors import UserError
from plw.files.sealed import read_sealed_json, write_sealed_json
from plw.files.writing import write_json_atomic

RECORD: dict[str, Any] = {"seconds": 1.5, "scores": [{"value": 0.1, "n": None}], "label": 'λ "x"\n', "seal of": {}}


def read(path: Path, content: bytes) -> Any:
    """What a file with this content is read as; None where it is refused by a line that names it."""
    path.write_bytes(content)
    try:
        return read_sealed_json(path)
    except UserError as refused:
        return None if str(path) in str(refused) else refused


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_sealed_json(path, RECORD)
    assert read_sealed_json(path) == RECORD
    assert json.loads(path.read_text()).items() > RECORD.items(), "any program reads it"
    write_json_atomic(path, RECORD)
    assert read_sealed_json(path) == RECORD, "versions before wrote no seal"


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_sealed_json(path, RECORD)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            found = read(path, bytes(changed))
            # A flip within the name of the last field leaves a file without seal.
            same = found is None or {name: found.get(name) for name in RECORD} == RECORD
            assert same, changed.decode(errors="replace")


@pytest.mark.parametrize("block", [1, 16, 4096])
def test_neither_a_cut_nor_zeros_change_what_is_read(block: int, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_sealed_json(path, RECORD)
    whole = path.read_bytes()
    for place in range(len(whole) - 1):
        assert read(path, whole[:place]) is None
        assert read(path, whole[:place] + bytes(block) + whole[place + block :]) is None
