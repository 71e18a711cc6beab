"""A model in one GGUF file (llama.cpp's form): what it must be, and the folder that it is unpacked to.

Its numbers are quantised, so it is unpacked to full precision once; all that reads a model reads that folder.
"""

import re
import struct
from pathlib import Path

from plw.errors import UserError
from plw.files.file_starts import check_no_pointer
from plw.files.hashing import file_hash

SUFFIX = ".gguf"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Of the form; 1 had other widths and is no longer written."""
HEADER = struct.Struct("<4sIQQ")
"""Magic, version, tensors, fields."""
PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
"""Name of a part of a model that llama.cpp wrote as several files: its number, and how many they are."""
UNPACKED = "unpacked.json"
"""The last file written into the folder: its presence says that the folder is whole."""


def check_gguf(file: Path, field: str) -> None:
    """Refuse a file whose first bytes are not those of a GGUF file with a model in it.

    Args:
        file: what ``field`` names.
        field: the config field, for the message.

    Raises:
        UserError: it is another kind of file, cut within its header, one of several parts, or holds no weights.
    """
    check_no_pointer(file)
    part = PART.search(file.name)
    if part is not None and int(part[1]) > 1:
        raise UserError(
            f"{field}={file}: one of the {int(part[1])} parts of a model; join them to one file by llama.cpp's "
            "llama-gguf-split --merge"
        )
    with file.open("rb") as opened:
        start = opened.read(HEADER.size)
    if start.startswith(MAGIC) and len(start) < HEADER.size:
        raise UserError(
            f"{field}={file}: cut within its header, at {len(start)} of {HEADER.size} bytes; fetch it again"
        )
    if not start.startswith(MAGIC):
        raise UserError(f"{field}={file}: no GGUF file (it begins with {start[:4]!r}, not {MAGIC!r}); fetch it again")
    _, version, tensors, _ = HEADER.unpack(start)
    if version not in VERSIONS:
        raise UserError(
            f"{field}={file}: of version {version} of GGUF; allowed: {' and '.join(map(str, VERSIONS))}, of a "
            "little-endian machine"
        )
    if not tensors:
        raise UserError(f"{field}={file}: it holds no weights (0 tensors), perhaps a tokenizer alone; give a model")


def unpacked_folder(file: Path, cache: Path) -> Path:
    """Where the model of a GGUF file is unpacked to, done or not; named by the file's content.

    Args:
        file: the GGUF file.
        cache: folder of what is made once (`execution.cache`).
    """
    return cache / f"gguf-{file_hash(file)[:16]}"
