"""The YAML files of a user's config folder, before Hydra reads them: what they hold is what is taken from them."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from plw.config import CellConfig
from plw.config.kinds import inner_kind, kind_at, one_kind
from plw.errors import UserError
from plw.paths import conf_folder

GLOBAL = re.compile(r"^\s*#\s*@package\s+_global_\s*$", re.MULTILINE)
"""The line by which a file's fields are those of the whole config, and not of its folder's group."""
OTHER_BASE = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9_]+(:[0-9_.]+)+")
"""Numbers that YAML 1.1 reads in base 8 or 60."""


def check_config_dir(folder: Path) -> None:
    """A user's folder of further groups is there, and each of its files says what it seems to say.

    Raises:
        UserError: there is no such folder, a file is no YAML of UTF-8, its text or number would be read as another, or
            it would never be read, since a file of ``conf/`` has its name.
    """
    if not folder.is_dir():
        raise UserError(f"--config-dir {folder}: no such folder")
    for ours in sorted(conf_folder().glob("*.yaml")):
        file = folder / ours.name
        if file.is_file() and file.read_bytes() != ours.read_bytes():
            raise UserError(
                f"{file}: is not read, since conf/{ours.name} comes first; fields that belong together go into "
                f"{folder}/study/NAME.yaml (study=NAME), which may set any field under the line '# @package _global_'"
            )
    groups = sorted(path.name for path in conf_folder().iterdir() if path.is_dir())
    for group in groups:
        for file in sorted((folder / group).rglob("*.yml")):
            raise UserError(f"{file}: is not read; the names of config files end in .yaml")
        for file in sorted((folder / group).rglob("*.yaml")):
            inside = file.relative_to(folder)
            _check_file(file, inside)
            ours = conf_folder() / inside
            if ours.is_file() and ours.read_bytes() != file.read_bytes():
                raise UserError(f"{file}: is not read, since conf/{inside} comes first; rename it")


def _check_file(file: Path, inside: Path) -> None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        raise UserError(f"{file}: not valid YAML (U+{error.character:04X} at character {error.position + 1})") from None
    except yaml.YAMLError:
        return  # Told by whoever reads it.
    group = () if GLOBAL.search(text) else inside.parent.parts
    kind = kind_at(CellConfig, group)
    if root is not None and kind is not None:
        for node, name in _texts_and_numbers(root, kind, ".".join(group)):
            _check_value(node, name, file)


def _texts_and_numbers(node: yaml.Node, kind: Any, place: str) -> Iterator[tuple[yaml.ScalarNode, tuple[str, Any]]]:
    """Each value without quotes whose type is known, with its field and type."""
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        yield node, (place, kind)
    elif isinstance(node, yaml.SequenceNode) and typing.get_origin(kind) is list:
        for item in node.value:
            yield from _texts_and_numbers(item, one_kind(typing.get_args(kind)[0]), place)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            name = str(key.value)
            yield from _texts_and_numbers(item, inner_kind(kind, name), f"{place}.{name}".lstrip("."))


def _check_value(node: yaml.ScalarNode, name: tuple[str, Any], file: Path) -> None:
    field, kind = name
    if kind not in (str, int, float):
        return
    try:
        value = OmegaConf.create(f"value: {node.value}").value
    except (OmegaConfBaseException, yaml.YAMLError):
        return  # An interpolation, or what is told by whoever reads it.
    changed = kind is str and isinstance(value, bool | int | float) and str(value) != node.value
    if changed or (kind is not str and OTHER_BASE.fullmatch(node.value)):
        remedy = "write it in quotes" if kind is str else "write it as a plain decimal number"
        place = f"{file}: line {node.start_mark.line + 1}: {field}"
        raise UserError(f"{place}: {node.value} is read as {str(value).lower()}; {remedy}")
