"""A cell's identity: the payloads and fingerprints of its stages, each resting on its inputs', and its folders.

Nothing is loaded or built here, so a whole grid can be planned in a moment.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from plw import world
from plw.config import CellConfig
from plw.config.checks import names
from plw.config.study import PREFERENCE
from plw.data.inputs import Input, Resolver, in_world
from plw.pipeline.cell_inputs import CellInputs, resolve_inputs
from plw.pipeline.payloads import stage_payloads
from plw.pipeline.stage import Stage
from plw.registry import CellRow, StageKey
from plw.results.identity import canonical_json, fingerprint

NEEDS: dict[str, tuple[str, ...]] = {
    "train": (),
    "preference": ("train",),
    "diagnose": ("train", "preference"),
    "harness": ("train", "preference"),
    "generate": ("train", "preference"),
    "judge": ("generate",),
}
"""Kind of stage -> the kinds whose results it reads, of those that the cell has."""


def needed_by(kind: str) -> set[str]:
    """The kinds of stage that one rests on, directly or not."""
    return {deeper for need in NEEDS[kind] for deeper in {need, *needed_by(need)}}


@dataclass(frozen=True, kw_only=True)
class Cell(CellInputs):
    """A planned cell: the config, where its inputs are, and its stages in order."""

    config: CellConfig
    folder: Path
    stages: dict[str, Stage]
    """Kind -> stage."""

    @property
    def fingerprint(self) -> str:
        """That of the model that is evaluated names the cell."""
        return self.last_training.fingerprint

    @property
    def last_training(self) -> Stage:
        """The stage that leaves the model that is evaluated."""
        return self.stages[PREFERENCE if self.pairs else "train"]

    @property
    def weights_name(self) -> str:
        """Weights and seed, as folders of cells are named."""
        return _weights_name(self.config)

    def read_by(self, kind: str) -> list[Input]:
        """What a stage itself reads of the inputs, beside what other stages left. The training data of `diagnose` are
        compared with those that were trained on where they are read.
        """
        found: dict[str, list[Input | None]] = {
            "train": [self.model, self.dataset],
            "preference": [self.pairs],
            "diagnose": [self.model, self.sensitivity],
            "harness": [item for files in self.files.values() for item in files.values()],
            "generate": [self.model, *self.prompts.values()],
            "judge": [
                self.judge_weights,
                *self.opponents.values(),
                *(self.prompts[name] for name in self.config.judged),
                *(item for name in self.config.judged for item in self.grading[name].values()),
            ],
        }
        return [item for item in found[kind] if item is not None]

    @property
    def inputs(self) -> list[Input]:
        """What names the cell, and what its stages read."""
        return [
            item for kind in dict.fromkeys(("train", PREFERENCE, *self.config.stages)) for item in self.read_by(kind)
        ]

    @property
    def is_finished(self) -> bool:
        """Whether every stage that is asked for has its record, whole."""
        return all(self.stages[kind].finished_record() for kind in self.config.stages)

    def is_left(self, kind: str) -> bool:
        """Whether a stage is asked for and not finished yet."""
        return kind in self.config.stages and not self.stages[kind].has_record

    def stage_key(self, kind: str) -> StageKey:
        """What names a stage of the cell in the registry."""
        config = self.config
        return StageKey(
            study=config.study.name, scale=config.scale.name, cell=self.fingerprint, name=self.stages[kind].name
        )

    def row(self) -> CellRow:
        """The cell's row in the registry."""
        config = self.config
        return CellRow(
            study=config.study.name,
            scale=config.scale.name,
            cell=self.fingerprint,
            dataset=config.dataset.name,
            model=config.model.name,
            prompt_weight=config.loss.prompt_weight,
            response_weight=config.loss.response_weight,
            normalizer=config.loss.normalizer,
            scope=config.loss.scope,
            seed=config.seed,
            folder=str(self.folder.relative_to(config.execution.runs_folder)),
            payload=canonical_json(
                self.stages["train"].payload | ({PREFERENCE: self.last_training.payload} if self.pairs else {})
            ),
            created=time.time(),
            recipe=config.recipe.name,
            weighting=config.weighting,
        )

    @property
    def label(self) -> str:
        """The cell in a few words, for progress and tables."""
        return f"{self.config.dataset.name} {self.config.model.name} {self.folder.name}"

    def needs_world(self) -> bool:
        """Whether any input, or the judge, is the embedded world's."""
        suite = self.config.suite
        paths = [self.config.model.path, self.config.dataset.path, self.config.preference.path]
        for item in suite.prompts.values():
            paths += [path for path in (item.prompts, item.judge_prompts, item.references) if path is not None]
        paths += [path for task in suite.tasks.values() for path in task.files.values()]
        paths += [suite.sensitivity.prompts] if suite.sensitivity else []
        judged = bool(suite.prompts) and "judge" in self.config.stages and self.config.judge.kind == "world"
        return judged or any(in_world(path) for path in paths)


def resolve_cell(config: CellConfig) -> Cell:
    """Work out a cell's inputs, fingerprints and folders.

    Raises:
        UserError: an input that does not exist.
    """
    cache = config.execution.cache_folder
    resolver = Resolver(
        world_folder=world.folder(config.world, cache),
        world_fingerprint=world.world_fingerprint(config.world),
        cache=cache,
    )
    inputs = resolve_inputs(config, resolver)
    payloads = stage_payloads(config, inputs, resolver.world_fingerprint)
    folder = _cell_folder(config, fingerprint(payloads["train" if inputs.pairs is None else PREFERENCE]))
    stages = {
        kind: Stage(
            kind=kind,
            name=_stage_name(kind, config),
            folder=folder / _stage_name(kind, config),
            fingerprint=fingerprint(payload),
            payload=payload,
        )
        for kind, payload in payloads.items()
    }
    return Cell(config=config, folder=folder, stages=stages, **vars(inputs))


def _stage_name(kind: str, config: CellConfig) -> str:
    if kind in ("train", PREFERENCE):
        return kind
    return f"{kind}-{config.suite.name}" + (f"-{config.judge.name}" if kind == "judge" else "")


def _weights_name(config: CellConfig) -> str:
    return f"p{config.loss.prompt_weight:g}-r{config.loss.response_weight:g}-s{config.seed}"


def _cell_folder(config: CellConfig, cell_fingerprint: str) -> Path:
    for field, name in (
        ("study.name", config.study.name),
        ("scale.name", config.scale.name),
        ("dataset.name", config.dataset.name),
        ("model.name", config.model.name),
        ("suite.name", config.suite.name),
        ("judge.name", config.judge.name),
        ("recipe.name", config.recipe.name),
        ("preference.name", config.preference.name),
    ):
        names(field, name)
    method = f"-{config.preference.method}" if config.preference.asked else ""
    of_model = config.study_folder / config.dataset.name / config.model.name
    return of_model / f"{_weights_name(config)}{method}-{cell_fingerprint[:8]}"
