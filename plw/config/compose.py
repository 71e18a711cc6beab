"""From Hydra's tree to typed configs: registers the schema, turns composed configs into checked ``CellConfig``s."""

import copy
import dataclasses
import inspect
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from plw.config import CellConfig
from plw.config.evaluation import SensitivityConfig, check_local_files_are_read
from plw.config.kinds import inner_kind, kind_at
from plw.config.overrides import ENTRIES, added_entries, check_overrides, with_group
from plw.errors import UserError, named
from plw.paths import conf_folder

_NO_CHOICE = re.compile(
    r"Could not find '(?P<group>[^/']+)/(?P<name>[^']*)' Available options in '[^']*': (?P<known>.*?)"
    r"( Config search path|$)"
)
_NO_OVERRIDE = re.compile(r"Could not override '(?P<key>[^']+)'\.")
_NOT_THERE = re.compile(r"Could not delete from config\. '(?P<key>[^']+)' does not exist")
_NO_ARGUMENT = re.compile(r"call to target '(?P<target>[\w.]+)'.*unexpected keyword argument '(?P<name>\w+)'")
_NO_NUMBER = re.compile(r"Value '(?P<value>.*)' of type '\w+' could not be converted to (?P<kind>Float|Integer)")
_NUMBERS = {"Float": "number", "Integer": "whole number"}
TARGET = "_target_"
"""Names the class that Hydra makes a launcher or sweeper of; the fields beside it are its arguments."""
_NO_AXES = re.compile(r"Interpolation key 'study\.axes\.([\w-]+)")


GIVEN_BY_CHOICES = ("registry.url", "judge.model", "preference.name")
"""Fields that every choice of their group gives, or leaves to the user as ``???``: that would not undo a default."""


def register_schema(words: Sequence[str] = (), *, sweep: bool = False) -> list[str]:
    """Make ``schema`` known to Hydra's defaults list, with the entries that a command line adds.

    Args:
        words: the overrides of the command line.
        sweep: whether several values of a field are a sweep.

    Returns:
        The words as Hydra is to be given them.

    Raises:
        UserError: a word that is no override.
    """
    check_overrides(words, sweep=sweep)
    rewritten, entries = added_entries([with_group(word) for word in words])
    schema = _writable(OmegaConf.structured(CellConfig))
    for place in GIVEN_BY_CHOICES:
        OmegaConf.update(schema, place, MISSING)
    for place, kind in entries.items():
        OmegaConf.update(schema, place, OmegaConf.structured(kind), force_add=True)
    if any(word.lstrip("+").startswith("suite.sensitivity.") for word in words):
        # Null in most suites; a field of null cannot be set.
        schema.suite.sensitivity = OmegaConf.structured(SensitivityConfig)
    store = ConfigStore.instance()
    store.store("schema", schema)
    # Hydra copies its sources, and the whole store with them, for each config and for each list of a group's choices.
    store.__deepcopy__ = _the_store  # type: ignore[attr-defined]
    return rewritten


def _the_store(_: dict[int, Any]) -> ConfigStore:
    """Stands for its copy, which takes 8 ms, and a second of `plw run --help`; what is taken of it is copied then."""
    return ConfigStore.instance()


def typed(config: DictConfig) -> CellConfig:
    """The composed config as frozen, range-checked dataclasses.

    Raises:
        UserError: a value of the wrong type or range, or one that is still missing; the line names the field.
    """
    plain = copy.deepcopy(config)
    with read_write(plain), open_dict(plain):
        plain.pop("hydra", None)
    missing = sorted(str(key) for key in OmegaConf.missing_keys(plain))
    if missing:
        raise UserError(f"{missing[0]} is missing; give it on the command line: {missing[0]}=VALUE")
    try:
        with one_line_errors():
            made: Any = OmegaConf.to_object(plain)
    except dataclasses.FrozenInstanceError:
        raise UserError(_unknown_field(plain, "")) from None
    if not isinstance(made, CellConfig):
        raise TypeError(f"expected a config of type CellConfig, found {type(made).__name__}")
    check_local_files_are_read(made.suite)
    return made


def _writable(node: DictConfig) -> DictConfig:
    """OmegaConf makes nodes of frozen dataclasses read-only, but Hydra composes by writing; only nodes are freed."""
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            if child._is_missing():
                # Filled in by its type now; left missing, it would be made read-only when a group first writes to it.
                node[key] = OmegaConf.structured(child._metadata.ref_type)
            _writable(node[key])
    return node


def _unknown_field(node: DictConfig, place: str) -> str:
    """The first field, at any depth, that its type does not have: a plus sign puts anything anywhere."""
    kind = OmegaConf.get_type(node)
    if dataclasses.is_dataclass(kind):
        known = [item.name for item in dataclasses.fields(kind)]
        for name in map(str, node):
            if name not in known:
                return _no_field(f"{place}{name}", known)
    found = (
        _unknown_field(child, f"{place}{name!s}.") for name, child in node.items() if isinstance(child, DictConfig)
    )
    return next((line for line in found if line), "")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Hydra's and OmegaConf's complaints as a UserError of one line that names the field.

    Raises:
        UserError: in place of any of theirs.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, UserError):
            # A launcher or sweeper that Hydra made has said it in a line.
            raise error.__cause__ from None
        raise UserError(_first_words(error)) from None
    except RecursionError as error:
        if not _is_hydras(error):
            raise
        raise UserError("a config file names itself among its defaults; leave it out there") from None
    except ValueError as error:
        # Hydra's complaints of defaults lists and options are of Python's own kinds.
        if not _is_hydras(error):
            raise
        raise UserError(" ".join(str(error).split())) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "a config file" if mark is None else f"{mark.name}: line {mark.line + 1} column {mark.column + 1}"
        raise UserError(f"{place}: not valid YAML ({error.problem})") from None


def _is_hydras(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf raised it, and no work that Hydra only called."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    # A recursion may end in anything that is called on the way.
    last = frames[-20:] if isinstance(error, RecursionError) else frames[-1:]
    return any(name.partition(".")[0] in ("hydra", "omegaconf") for name in last)


def _first_words(error: BaseException) -> str:
    """The complaint itself, the config file where Hydra tells it, and the field where OmegaConf does."""
    file = re.match(r"In '([^']+)': \w+ raised while composing config", str(error))
    if file and isinstance(error.__context__, OmegaConfBaseException):
        return f"{file[1]}.yaml: {_complaint(error.__context__)}"
    return _complaint(error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error)


def _complaint(cause: BaseException) -> str:
    """Without types and stack."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    field = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    kind = getattr(cause, "object_type", None)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and dataclasses.is_dataclass(kind):
        return _no_field(field, (item.name for item in dataclasses.fields(kind)))
    if lacking := _NO_AXES.search(str(cause)):
        return (
            f"the study has no axes for scale={lacking[1]}; take a scale that stands under study.axes in its file in "
            "conf/study, or study=own and name the axes"
        )
    words = [line for line in lines if not line.startswith(("full_key:", "reference_type=", "object_type="))]
    text = " ".join(words) or type(cause).__name__
    if "Merge error: list is not" in text or "Cannot merge DictConfig with ListConfig" in text:
        return f"{field or 'it'} is a list where fields with names belong; write NAME: VALUE in each line"
    if unknown := _NO_ARGUMENT.search(text):
        return _no_field(f"{field}.{unknown['name']}", inspect.signature(get_class(unknown["target"])).parameters)
    if (unknown := _NO_OVERRIDE.search(text)) or (unknown := _NOT_THERE.search(text)):
        return _no_key(unknown["key"])
    if choice := _NO_CHOICE.search(text):
        return _no_choice(choice["group"], choice["name"], choice["known"])
    if unset := re.fullmatch(r"field '(.+)' is not Optional", text):
        return f"{unset[1]}=null is not allowed; give it a value"
    if number := _NO_NUMBER.fullmatch(text):
        axis = "; values of an axis stand without brackets" if number["value"].startswith("[") else ""
        return f"{field}={number['value']} is no {_NUMBERS[number['kind']]}{axis}"
    if "is not a ListConfig" in text:
        return f"{field} is a list; write it in brackets: {field}=[VALUE,...]"
    if "to Dict[" in text:
        return f"{field} holds entries by name; give one: +{field}.NAME{'.FIELD' if field in ENTRIES else ''}=VALUE"
    parts = getattr(cause, "parent_node", None)
    if text.endswith("is not in struct") and isinstance(parts, DictConfig) and TARGET in parts:
        return _no_field(field, map(str, parts))
    if text.endswith("is not in struct"):
        new = f"{field}.FIELD" if field.rpartition(".")[0] in ENTRIES else field
        known = named(map(str, parts)) if isinstance(parts, DictConfig) else "none"
        return f"{field}: no such entry; there are: {known}; a new one is given with a plus sign: +{new}=VALUE"
    return f"{field}: {text}" if field and field not in text else text


def _no_field(field: str, known: Iterable[str]) -> str:
    """What is said of a field that a schema, or a launcher or sweeper of Hydra's, does not have."""
    inside = (f"{group.name}.{field}" for group in dataclasses.fields(CellConfig)
              if inner_kind(inner_kind(CellConfig, group.name), field) is not None)  # fmt: skip
    found = next(inside, None) if "." not in field else None
    hint = "" if found is None else f"; there is {found}"
    return f"{field}: no such field; allowed: {named(name for name in known if name != TARGET)}{hint}"


def _no_key(key: str) -> str:
    """What is said of a group or field that is set, chosen or taken out, and is not there."""
    group, _, package = key.partition("@")
    if package and group in _fields():
        return f"{key}: a group has one place here; choose by its name alone: {group}=CHOICE"
    kind = kind_at(CellConfig, key.split(".")[:-1])
    if dataclasses.is_dataclass(kind) and kind is not CellConfig:
        return _no_field(key, (item.name for item in dataclasses.fields(kind)))
    own = "" if _is_ours(group) or "." in key else f"; a group of your own is added with a plus sign: +{key}=CHOICE"
    return _no_field(key, _fields()) + own


def _fields() -> list[str]:
    return [item.name for item in dataclasses.fields(CellConfig)]


def _is_ours(group: str) -> bool:
    """Whether a folder of ours has the group's name: of some, as `task`, the files are no choices."""
    return (conf_folder() / group).is_dir()


def _no_choice(group: str, name: str, known: str) -> str:
    if _is_ours(group) and group.partition("/")[0] not in (*_fields(), "hydra"):
        return _no_key(group)
    by_path = {"dataset": "file", "model": "folder"}.get(group) if "/" in name else None
    own = f"; one of your own is {group}={by_path} with {group}.path={name}" if by_path else ""
    allowed = ", ".join(known.split())
    return f"{group}/{name} is not there; allowed: {allowed}{own}; --config-dir gives a folder of further ones"
