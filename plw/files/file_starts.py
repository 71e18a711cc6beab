"""What a file is by the way it begins, whatever its name says."""

from pathlib import Path

from plw.errors import UserError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
"""How the small file begins that git-lfs leaves in place of a large one."""
OTHER_KINDS = {
    b"\x1f\x8b": ("compressed by gzip", "unpack it (gunzip)"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it (unzstd)"),
    b"\xfd7zXZ\x00": ("compressed by xz", "unpack it (unxz)"),
    b"BZh": ("compressed by bzip2", "unpack it (bunzip2)"),
    b"PK\x03\x04": ("a zip archive", "unpack it (unzip); a sheet of Excel's is saved as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old file of Excel or Word", "save it as CSV"),
    b"PAR1": ("a parquet table", "give its name the end .parquet"),
    b"ARROW1": ("an Arrow file", "save it as parquet or JSON lines"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "save it as parquet or JSON lines (datasets: to_parquet, to_json)"),
    b"\x80\x04\x95": ("a pickle of Python's", "save it as JSON lines"),
    b"\x80\x05\x95": ("a pickle of Python's", "save it as JSON lines"),
    b"SQLite format 3": ("a database of SQLite", "save its table as CSV or JSON lines"),
    b"%PDF-": ("a PDF document", "give its text as rows of JSON"),
}
"""How a file begins that is no text -> what it is and what to do. No JSON begins so."""


def check_start(path: Path, data: bytes) -> None:
    """Refuse bytes that a text file does not begin with.

    Raises:
        UserError: they are git-lfs's pointer, an archive's or a table's; the line says what to do.
    """
    if data.startswith(LFS_POINTER):
        raise UserError(f"{path}: a git-lfs pointer stands in place of the file; fetch the file itself (git lfs pull)")
    for start, (kind, remedy) in OTHER_KINDS.items():
        if data.startswith(start):
            raise UserError(f"{path}: {kind} and no text; {remedy}")


def check_start_of(path: Path) -> None:
    """As :func:`check_start`, of a file; one that cannot be opened is left to its reader."""
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError:
        return
    check_start(path, start)


def check_no_pointer(path: Path) -> None:
    """Refuse what git-lfs leaves in place of a large file that it has not fetched.

    Raises:
        UserError: the file is such a pointer.
    """
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        check_start(path, start)
