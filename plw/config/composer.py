"""The configs of a grid's jobs, which differ in a few choices and values, each composed and checked once.

Hydra composes a job in tenths of a second. Jobs that differ in plain values (`field=value`) share what Hydra composes
of their groups; a part of the config (`loss`, `seed`, ...) is then converted and checked once for each set of its
values.
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
        base = self._bases.get(others)
        if base is None:
            base = self._bases[others] = _Base(self._loader.load_sweep_config(self._config, list(others)))
        made = base.quickly(values)
        if made is not None:
            return made
        config = copy.deepcopy(base.config)
        for override in values.values():
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        return typed(config)

    def _is_value(self, override: Override) -> bool:
        """``field=value`` and nothing else: no group, no added or deleted key, nothing of Hydra's own."""
        name = override.key_or_group
        if override.type != OverrideType.CHANGE or override.package is not None or name.split(".")[0] not in PARTS:
            return False
        if name not in self._groups:
            self._groups[name] = bool(self._loader.get_group_options(name))
        return not self._groups[name]


class _Base:
    """What jobs of the same groups share: the composed config, and its parts as they were converted so far."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        plain = OmegaConf.to_container(config, resolve=False)
        assert isinstance(plain, dict)
        self._references = " ".join(_interpolations({name: plain.get(name) for name in PARTS}))
        self._parts: dict[tuple[str, tuple[str, ...]], Any] = {}

    def quickly(self, values: dict[str, Override]) -> CellConfig | None:
        """The config with some values changed, part by part; None where that does not tell all there is to tell."""
        lines: dict[str, list[str]] = defaultdict(list)
        for line, override in values.items():
            lines[override.key_or_group.split(".")[0]].append(line)
        if any(re.search(rf"\b{part}\b", self._references) for part in lines):
            # Another part of the config may be made from this one.
            return None
        try:
            return CellConfig(**{name: self._part(name, tuple(lines[name]), values) for name in PARTS})
        except (_NotPlainError, UserError):
            # The whole config's check names the field, and the first mistake of several.
            return None

    def _part(self, name: str, lines: tuple[str, ...], values: dict[str, Override]) -> Any:
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


def _interpolations(value: Any) -> list[str]:
    """Every text with an interpolation, at any depth."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in _interpolations(item)]
    if isinstance(value, list):
        return [text for item in value for text in _interpolations(item)]
    return [value] if isinstance(value, str) and INTERPOLATION.search(value) else []
