"""The whole config of one cell, and its halves: identity (what defines results) and execution (how they are made)."""

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from plw.config.checks import MAX_SEED, check_numbers, in_range
from plw.config.evaluation import PROTOCOLS, PromptSetConfig, SuiteConfig
from plw.config.fields import EXECUTION
from plw.config.judge import JudgeConfig
from plw.config.loss import LossConfig
from plw.config.preference import PreferenceConfig
from plw.config.study import (
    PREFERENCE,
    STAGES,
    ExecutionConfig,
    RegistryConfig,
    ScaleConfig,
    StudyConfig,
    TrackerConfig,
)
from plw.config.training import DatasetConfig, ModelConfig, RecipeConfig, TemplateConfig
from plw.config.world import WorldConfig
from plw.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """One point of a study's grid with everything needed to run it."""

    study: StudyConfig
    scale: ScaleConfig
    model: ModelConfig
    dataset: DatasetConfig
    template: TemplateConfig
    loss: LossConfig
    recipe: RecipeConfig
    suite: SuiteConfig
    judge: JudgeConfig
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)
    world: WorldConfig = field(default_factory=WorldConfig)
    seed: int = 42
    """Seed of the data order and of everything else that is random in training."""
    stages: list[str] = field(default_factory=lambda: list(STAGES), metadata=EXECUTION)
    """Stages to run; a stage needs the ones before it, run now or earlier; `preference` is for cells that have one."""
    registry: RegistryConfig = field(default_factory=RegistryConfig, metadata=EXECUTION)
    tracker: TrackerConfig = field(default_factory=TrackerConfig, metadata=EXECUTION)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig, metadata=EXECUTION)

    def __post_init__(self) -> None:
        in_range("seed", self.seed, 0, MAX_SEED)
        check_numbers(self)
        unknown = [stage for stage in self.stages if stage not in STAGES]
        if unknown or not self.stages:
            found = ", ".join(unknown) or "nothing"
            raise UserError(f"stages={found} is not known; allowed: {', '.join(STAGES)}")
        twice = [stage for stage in STAGES if self.stages.count(stage) > 1]
        if twice:
            raise UserError(f"stages={','.join(self.stages)} names {twice[0]} twice; name each once")
        object.__setattr__(self, "stages", sorted(self.stages, key=STAGES.index))
        self._check_pairs_fit()
        if self.execution.evaluate_every is not None and not self.dataset.held_out:
            raise UserError(
                f"execution.evaluate_every={self.execution.evaluate_every} needs records that are held out; give "
                "dataset.held_out=NUMBER"
            )
        if not self.preference.asked and PREFERENCE in self.stages:
            if self.stages == [PREFERENCE]:
                raise UserError(f"stages={PREFERENCE} needs pairs to train on; choose some: preference=NAME")
            # A grid's cells may differ in it, and the default names all stages.
            object.__setattr__(self, "stages", [stage for stage in self.stages if stage != PREFERENCE])

    def _check_pairs_fit(self) -> None:
        longest, budget = 2 * self.preference.max_length, self.execution.token_budget
        if self.preference.asked and PREFERENCE in self.stages and longest > budget:
            raise UserError(
                f"execution.token_budget={budget} does not hold a pair of two examples of "
                f"preference.max_length={self.preference.max_length}; allowed: {longest} or more, or a smaller "
                "preference.max_length"
            )

    def repeated_seed(self, number: int) -> int:
        """The seed of the cell's ``number``-th repetition; after the largest seed comes 0."""
        return (self.seed + number) % (MAX_SEED + 1)

    @property
    def runs_name(self) -> str:
        """The study's folder below the runs folder."""
        return f"{self.study.name}-{self.scale.name}"

    @property
    def study_folder(self) -> Path:
        """The study's folder of results, absolute."""
        return self.execution.runs_folder / self.runs_name

    @property
    def weighting(self) -> str:
        """What training does beyond the two weights, normalizer and scope, in a few letters; empty for nothing."""
        return " ".join(filter(None, [self.loss.label, self.preference.label]))

    @property
    def judged(self) -> dict[str, PromptSetConfig]:
        """The suite's long generations that the judge compares: those whose protocol is one of its."""
        known = PROTOCOLS if self.judge.protocols is None else self.judge.protocols
        return {name: item for name, item in self.suite.prompts.items() if item.protocol in known}


def identity_fields(config: Any, *names: str) -> dict[str, Any]:
    """The identity fields of a schema as plain types; fields marked as execution are left out, at any depth.

    A field marked LATER is left out while it stands at its default: so results from before it existed stay found.

    Args:
        config: an instance of one of the schemas.
        names: fields to take; none: all.
    """
    return {
        item.name: _plain(getattr(config, item.name))
        for item in _identity(config.__class__)
        if (not names or item.name in names)
        and not (item.metadata.get("later") and getattr(config, item.name) == _default(item))
    }


@cache
def _identity(schema: type) -> "tuple[dataclasses.Field[Any], ...]":
    return tuple(item for item in dataclasses.fields(schema) if not item.metadata.get("execution"))


def _default(item: "dataclasses.Field[Any]") -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if dataclasses.is_dataclass(value):
        return identity_fields(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
