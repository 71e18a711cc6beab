"""Local files of benchmarks, found by name in the one folder that a user gives."""

from pathlib import Path

from plw.errors import UserError


def found_below(folder: str, name: str, field: str) -> str:
    """The path of the one file of this name in a folder, at any depth.

    Args:
        folder: as the config has it (`suite.data`).
        name: of the file.
        field: the config field that names the file, for messages.

    Raises:
        UserError: no such folder, no such file in it, or several.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise UserError(f"suite.data={folder}: no such folder")
    found = sorted(path for path in place.rglob(name) if path.is_file())
    if not found:
        raise UserError(
            f"suite.data={folder}: {name} is not in it ({field}); put it there, or leave the benchmark out with "
            f"~{field.rpartition('.local')[0]}"
        )
    if len(found) > 1:
        raise UserError(
            f"suite.data={folder}: {name} ({field}) is there {len(found)} times, such as {found[0]} and {found[1]}; "
            "keep one"
        )
    return str(found[0])
