"""JSON files of ours that tell whether they are as they were written: the last field is a checksum of all before it.

A disk's error in a record is then a damaged record, and no other number. A file without the field is taken as it is:
versions before this one wrote none.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from plw.errors import UserError
from plw.files.reading import parse_json, read_text
from plw.files.writing import write_text_atomic

SEAL = "seal"
"""The last field: SHA-256, in hex, of the text before it."""
_BEFORE_SEAL = f',\n "{SEAL}": "'


def sealed_json(value: dict[str, Any]) -> str:
    """An object with at least one field as indented JSON with its seal; NaN and infinity are refused."""
    body = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    return f'{body}{_BEFORE_SEAL}{_checksum(body)}"\n}}\n'


def write_sealed_json(path: Path, value: dict[str, Any]) -> None:
    """Write :func:`sealed_json`, whole or not at all."""
    write_text_atomic(path, sealed_json(value))


def read_sealed_json(path: Path) -> Any:
    """The value of a file without its seal.

    Raises:
        UserError: the file is missing, is not JSON, or is not as it was written; the line names the file.
    """
    text = read_text(path)
    value = parse_json(text, path)
    if not isinstance(value, dict) or SEAL not in value:
        return value
    body, _, _ = text.rpartition(_BEFORE_SEAL)
    if value.pop(SEAL) != _checksum(body):
        raise UserError(f"{path}: is not as it was written (its checksum differs)")
    return value


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()
