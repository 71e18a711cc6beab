"""The configs of a grid's jobs, which differ in a few choices and values, each composed and checked once.

Hydra composes a job in tenths of a second. Jobs that differ in plain values (`field=value`) share what Hydra composes
of their groups; a part of the config (`loss`, `seed`, ...) is then converted and checked once for each set of its
values. Where groups touch parts of their own, Hydra composes each choice once and not each combination: six models and
three datasets are eight compositions.
"""

import copy
import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from plw.config import CellConfig
from plw.config.compose import typed
from plw.config.evaluation import check_local_files_are_read
from plw.errors import UserError
from plw.progress import Progress, counted, no_progress

PARTS = tuple(item.name for item in dataclasses.fields(CellConfig))
INTERPOLATION = re.compile(r"\$\{")


class Composer:
    """Composes jobs.

    Args:
        loader: Hydra's, of the sweep.
        config: the sweep's own config.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader = loader
        self._config = config
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._mixed: dict[tuple[str, ...], _Mixed] = {}
        self._first: tuple[str, ...] | None = None
        """The groups' choices of the first job, with which those of the others are compared."""

    def compose(self, jobs: Sequence[Sequence[str]], progress: Progress = no_progress) -> list[CellConfig]:
        """The configs of jobs, each given by its overrides.

        Raises:
            UserError: a value of the wrong type or range, or one that is still missing; the line names the field.
        """
        shared = set.intersection(*map(set, jobs)) if jobs else set()
        return [self._one(lines, shared) for lines in counted(jobs, progress)]

    def _one(self, lines: Sequence[str], shared: set[str]) -> CellConfig:
        """The config of one job; what it shares with all others is composed by Hydra."""
        for line in lines:
            if line not in self._parsed:
                (self._parsed[line],) = self._parser.parse_overrides([line])
        own = [line for line in lines if line not in shared]
        values = {line: self._parsed[line] for line in own if self._is_value(self._parsed[line])}
        others = tuple(line for line in lines if line not in values)
        made = self._parts_of(others).quickly(values)
        if made is not None:
            return made
        config = copy.deepcopy(self._base(others).config)
        for override in values.values():
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        return typed(config)

    def _base(self, choices: tuple[str, ...]) -> "_Base":
        """What Hydra composes of the groups' choices."""
        if choices not in self._bases:
            self._bases[choices] = _Base(self._loader.load_sweep_config(self._config, list(choices)))
        return self._bases[choices]

    def _parts_of(self, choices: tuple[str, ...]) -> "_Mixed":
        """The config of the groups' choices, of few compositions where that is exact, else of its own."""
        if choices not in self._mixed:
            self._mixed[choices] = self._mix(choices) or _Mixed.of_one(self._base(choices))
        return self._mixed[choices]

    def _mix(self, choices: tuple[str, ...]) -> "_Mixed | None":
        """The choices put together from compositions that differ from the first job's in one each, if that is exact."""
        first = self._first = self._first or choices
        changed = [place for place, pair in enumerate(zip(first, choices, strict=False)) if pair[0] != pair[1]]
        same_fields = len(first) == len(choices) and all(
            self._parsed[first[place]].key_or_group == self._parsed[choices[place]].key_or_group for place in changed
        )
        if not same_fields or len(changed) < 2 or choices in self._bases:
            return None
        singles = [self._base((*first[:place], choices[place], *first[place + 1 :])) for place in changed]
        return _Mixed.of(self._base(first), singles)

    def _is_value(self, override: Override) -> bool:
        """``field=value`` and nothing else: no group, no added or deleted key, nothing of Hydra's own."""
        name = override.key_or_group
        if override.type != OverrideType.CHANGE or override.package is not None or name.split(".")[0] not in PARTS:
            return False
        if name not in self._groups:
            self._groups[name] = bool(self._loader.get_group_options(name))
        return not self._groups[name]


class _Mixed:
    """A config each of whose parts comes from one of several compositions."""

    def __init__(self, sources: dict[str, "_Base"], references: str) -> None:
        self._sources = sources
        self._references = references

    @classmethod
    def of_one(cls, base: "_Base") -> "_Mixed":
        """All parts from one composition."""
        return cls(dict.fromkeys(PARTS, base), base.references)

    @classmethod
    def of(cls, first: "_Base", singles: list["_Base"]) -> "_Mixed | None":
        """The parts that each composition changes of the first; None where two change one, or one is referred to."""
        sources = dict.fromkeys(PARTS, first)
        for single in singles:
            for name in PARTS:
                if single.plain.get(name) == first.plain.get(name):
                    continue
                if sources[name] is not first:
                    return None
                sources[name] = single
        references = " ".join(base.references for base in (first, *singles))
        if any(base is not first and _is_named(name, references) for name, base in sources.items()):
            return None
        return cls(sources, references)

    def quickly(self, values: dict[str, Override]) -> CellConfig | None:
        """The config with some values changed, part by part; None where that does not tell all there is to tell."""
        lines: dict[str, list[str]] = defaultdict(list)
        for line, override in values.items():
            lines[override.key_or_group.split(".")[0]].append(line)
        if any(_is_named(part, self._references) for part in lines):
            # Another part of the config may be made from this one.
            return None
        if any(set(base.plain) - {*PARTS, "hydra"} for base in self._sources.values()):
            # A field that no part is.
            return None
        try:
            made = CellConfig(
                **{name: base.part(name, tuple(lines[name]), values) for name, base in self._sources.items()}
            )
            check_local_files_are_read(made.suite)
        except (_NotPlainError, UserError):
            # The whole config's check names the field, and the first mistake of several.
            return None
        return made


class _Base:
    """What jobs of the same groups share: the composed config, and its parts as they were converted so far."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        plain = OmegaConf.to_container(config, resolve=False)
        assert isinstance(plain, dict)
        self.plain = plain
        self.references = " ".join(_interpolations({name: self.plain.get(name) for name in PARTS}))
        self._parts: dict[tuple[str, tuple[str, ...]], Any] = {}

    def part(self, name: str, lines: tuple[str, ...], values: dict[str, Override]) -> Any:
        """One part with its values, converted and checked; ``lines`` are the values' own.

        Raises:
            _NotPlainError: the whole config has to be asked.
        """
        key = (name, lines)
        if key not in self._parts:
            try:
                self._parts[key] = self._converted(name, [values[line] for line in lines])
            except Exception as error:
                raise _NotPlainError from error
        return self._parts[key]

    def _converted(self, name: str, overrides: list[Override]) -> Any:
        node = copy.deepcopy(self.config._get_node(name))
        if not isinstance(node, DictConfig):
            for override in overrides:
                node._set_value(override.value())  # type: ignore[union-attr]
            return OmegaConf.to_object(node) if OmegaConf.is_config(node) else node._value()  # type: ignore[union-attr]
        for override in overrides:
            OmegaConf.update(node, override.key_or_group.partition(".")[2], override.value(), merge=True)
        if OmegaConf.missing_keys(node):
            raise _NotPlainError
        return OmegaConf.to_object(node)


class _NotPlainError(Exception):
    """A part that the whole config has to be asked for."""


def _is_named(part: str, references: str) -> bool:
    return re.search(rf"\b{part}\b", references) is not None


def _interpolations(value: Any) -> list[str]:
    """Every text with an interpolation, at any depth."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _interpolations(item)]
    if isinstance(value, list):
        return [text for item in value for text in _interpolations(item)]
    return [value] if isinstance(value, str) and INTERPOLATION.search(value) else []
