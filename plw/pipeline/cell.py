"""A cell's identity: the payloads and fingerprints of its stages, each resting on its inputs', and its folders.

Nothing is loaded or built here, so a whole grid can be planned in a moment.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from plw import world
from plw.config import CellConfig, identity_fields
from plw.config.checks import names
from plw.config.evaluation import MT_BENCH, REFERENCE
from plw.errors import UserError
from plw.evaluate.judging.evaluator_folder import evaluator_folder, evaluator_hash
from plw.files import file_hash, folder_hash
from plw.identity import canonical_json, fingerprint
from plw.inputs import WORLD_PREFIX, Input, Resolver
from plw.paths import judge_prompt_folder, task_folder
from plw.pipeline.stage import Stage
from plw.registry import CellRow, StageKey

SOURCE = ("name", "path", "revision", "file", "sha256")
"""Fields of a dataset that say where it lies; what lies there is in its content."""
NEEDS: dict[str, tuple[str, ...]] = {
    "train": (),
    "diagnose": ("train",),
    "harness": ("train",),
    "generate": ("train",),
    "judge": ("generate",),
}
"""Kind of stage -> the kinds whose results it reads."""


def needed_by(kind: str) -> set[str]:
    """The kinds of stage that one rests on, directly or not."""
    return {deeper for need in NEEDS[kind] for deeper in {need, *needed_by(need)}}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A planned cell: the config, where its inputs are, and its stages in order."""

    config: CellConfig
    model: Input
    dataset: Input
    files: dict[str, dict[str, Input]]
    """Benchmark -> split -> file, for the lm-eval tasks pointed at local files."""
    prompts: dict[str, Input]
    """Benchmark -> prompts of a long generation."""
    grading: dict[str, dict[str, Input]]
    """Benchmark -> `judge_prompts` and, where there are any, `references` of its dialogues."""
    sensitivity: Input | None
    """Prompts whose wordings the sensitivity is measured on."""
    judge_weights: Input | None
    """Where a judge of kind ``weights`` is loaded from."""
    opponents: dict[str, Input]
    """Benchmark -> answers that the judge compares with in place of the reference answers."""
    folder: Path
    stages: dict[str, Stage]
    """Kind -> stage."""

    @property
    def fingerprint(self) -> str:
        """The trained model's fingerprint names the cell."""
        return self.stages["train"].fingerprint

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
            folder=str(self.folder.relative_to(Path(config.execution.runs).absolute())),
            payload=canonical_json(self.stages["train"].payload),
            created=time.time(),
            recipe=config.recipe.name,
            weighting=config.loss.words,
        )

    @property
    def label(self) -> str:
        """The cell in a few words, for progress and tables."""
        return f"{self.config.dataset.name} {self.config.model.name} {self.folder.name}"

    def needs_world(self) -> bool:
        """Whether any input, or the judge, is the embedded world's."""
        suite = self.config.suite
        paths = [self.config.model.path, self.config.dataset.path]
        for item in suite.prompts.values():
            paths += [path for path in (item.prompts, item.judge_prompts, item.references) if path is not None]
        paths += [path for task in suite.tasks.values() for path in task.files.values()]
        paths += [suite.sensitivity.prompts] if suite.sensitivity else []
        judged = bool(suite.prompts) and "judge" in self.config.stages and self.config.judge.kind == "world"
        return judged or any(path.startswith(WORLD_PREFIX) for path in paths)


def resolve_cell(config: CellConfig) -> Cell:
    """Work out a cell's inputs, fingerprints and folders.

    Raises:
        UserError: an input that does not exist.
    """
    cache = Path(config.execution.cache).absolute()
    resolver = Resolver(
        world_folder=world.folder(config.world, cache),
        world_fingerprint=world.world_fingerprint(config.world),
        cache=cache,
    )
    trusted = config.model.trust_remote_code
    model = resolver.model(config.model.path, config.model.revision, "model.path", trust_remote_code=trusted)
    dataset = resolver.data(config.dataset)
    files = {
        name: {split: resolver.file(path, f"suite.tasks.{name}.files.{split}") for split, path in task.files.items()}
        for name, task in config.suite.tasks.items()
    }
    prompts = {
        name: resolver.file(item.prompts, f"suite.prompts.{name}.prompts", item.source)
        for name, item in config.suite.prompts.items()
    }
    asked = config.suite.sensitivity
    sensitivity = None if asked is None else resolver.file(asked.prompts, "suite.sensitivity.prompts", asked.source)
    judge_weights, opponents = _judge_inputs(config, resolver)
    payloads = _payloads(config, model, dataset, files, prompts, resolver.world_fingerprint)
    if sensitivity is not None:
        payloads["diagnose"]["sensitivity"] |= {"prompts": sensitivity.content}
        payloads["diagnose"]["template"] = payloads["train"]["template"]
    grading = _grading_inputs(config, resolver)
    payloads["judge"] |= _judge_contents(judge_weights, opponents, {name: grading[name] for name in config.judged})
    folder = _cell_folder(config, fingerprint(payloads["train"]))
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
    return Cell(
        config=config,
        model=model,
        dataset=dataset,
        files=files,
        prompts=prompts,
        grading=grading,
        sensitivity=sensitivity,
        judge_weights=judge_weights,
        opponents=opponents,
        folder=folder,
        stages=stages,
    )


def _judge_inputs(config: CellConfig, resolver: Resolver) -> tuple[Input | None, dict[str, Input]]:
    """The judge's weights, and the opponents' answers.

    Raises:
        UserError: one is not there, or the judge has nothing to compare.
    """
    judge, judged = config.judge, config.judged
    asked = ", ".join(sorted({item.protocol for item in config.suite.prompts.values()} - {REFERENCE}))
    if "judge" in config.stages and asked and not judged:
        raise UserError(
            f"judge {judge.name} has no work: judge.protocols={judge.protocols}, "
            f"but suite {config.suite.name} has prompts of the protocols {asked}"
        )
    compared = {name for name, item in judged.items() if item.protocol != MT_BENCH}
    unknown = sorted(judge.opponents.keys() - compared)
    if unknown:
        raise UserError(
            f"judge.opponents.{unknown[0]}: judge {judge.name} compares no such benchmark; "
            f"allowed: {', '.join(name for name in judged if name in compared)}"
        )
    opponents = {name: resolver.file(path, f"judge.opponents.{name}") for name, path in judge.opponents.items()}
    if judge.kind != "weights":
        return None, opponents
    return resolver.model(str(judge.path), judge.revision, "judge.path", pickled=True), opponents


def _grading_inputs(config: CellConfig, resolver: Resolver) -> dict[str, dict[str, Input]]:
    """Files beside the questions of each benchmark; none for protocols that have none."""
    found = {}
    for name, item in config.suite.prompts.items():
        named = {"judge_prompts": item.judge_prompts, "references": item.references}
        sources = {"judge_prompts": item.judge_prompts_source, "references": item.references_source}
        found[name] = {
            field: resolver.file(path, f"suite.prompts.{name}.{field}", sources[field])
            for field, path in named.items()
            if path is not None
        }
    return found


def _judge_contents(
    weights: Input | None, opponents: dict[str, Input], grading: dict[str, dict[str, Input]]
) -> dict[str, Any]:
    """What a judge stage's payload says of them, where the judge has any."""
    said: dict[str, Any] = {} if weights is None else {"weights": weights.content}
    if opponents:
        said["opponents"] = {name: item.content for name, item in opponents.items()}
    graded = {name: {field: item.content for field, item in of.items()} for name, of in grading.items() if of}
    return said | ({"graded_with": graded} if graded else {})


def _payloads(
    config: CellConfig,
    model: Input,
    dataset: Input,
    files: dict[str, dict[str, Input]],
    prompts: dict[str, Input],
    world_fingerprint: str,
) -> dict[str, dict[str, Any]]:
    """Stage kind -> what defines its result; a later stage holds the fingerprint of the one it reads."""
    suite = identity_fields(config.suite)
    train = {
        "model": {"revision": config.model.revision, "content": model.content},
        "dataset": {**_without(identity_fields(config.dataset), *SOURCE), "content": dataset.content},
        "template": _without(identity_fields(config.template), "name"),
        "loss": identity_fields(config.loss),
        "recipe": _without(identity_fields(config.recipe), "name"),
        "seed": config.seed,
    }
    trained = fingerprint(train)
    tasks = {
        name: {
            **_without(task, "files", "group"),
            "files": {split: item.content for split, item in files[name].items()},
            "definition": _task_definition(task["task"]),
        }
        for name, task in suite["tasks"].items()
    }
    generate = {
        "train": trained,
        "prompts": {
            name: {"limit": item["limit"], "content": prompts[name].content}
            | ({"protocol": item["protocol"]} if item["protocol"] in (REFERENCE, MT_BENCH) else {})
            for name, item in suite["prompts"].items()
        },
        "template": train["template"],
        **identity_fields(config.suite, "decoding", "backend", "dtype"),
    }
    return {
        "train": train,
        "diagnose": {"train": trained, **identity_fields(config.suite, "diagnostics", "sensitivity", "dtype")},
        "harness": {
            "train": trained,
            "tasks": tasks,
            **identity_fields(config.suite, "limit", "bootstrap_iterations", "bootstrap_seed", "backend", "dtype"),
        },
        "generate": generate,
        "judge": {
            "generate": fingerprint(generate),
            "protocols": {name: item.protocol for name, item in config.judged.items()},
            "judge": identity_fields(config.judge),
            "asked_with": _judge_prompts(config) if prompts else {},
            "facts": world_fingerprint if config.judge.kind == "world" and prompts else None,
        },
    }


def _task_definition(task: str) -> str | None:
    """Hash of a task file of our own; lm-eval's own tasks carry a version instead."""
    path = task_folder() / f"{task}.yaml"
    return file_hash(path) if path.is_file() else None


def _evaluator_hash(name: str) -> str:
    folder = evaluator_folder(name)
    return _evaluator_hash_once(folder, folder_hash(folder))


@lru_cache(maxsize=64)
def _evaluator_hash_once(folder: Path, content: str) -> str:  # noqa: ARG001 - the cache goes by both
    """Read once a process for each state of the folder: a grid's cells share it."""
    return evaluator_hash(folder)


def _judge_prompts(config: CellConfig) -> dict[str, str]:
    """Protocol -> hash of the texts that the judge is asked with.

    Raises:
        UserError: the evaluator that the judge's config names is not there.
    """
    hashes = {
        "alpaca_eval": lambda: _evaluator_hash(config.judge.evaluator),
        "pandalm": lambda: folder_hash(judge_prompt_folder() / "pandalm"),
    }
    asked = {item.protocol for item in config.judged.values()}
    return {protocol: hashes[protocol]() for protocol in sorted(asked & hashes.keys())}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in names}


def _stage_name(kind: str, config: CellConfig) -> str:
    if kind == "train":
        return kind
    return f"{kind}-{config.suite.name}" + (f"-{config.judge.name}" if kind == "judge" else "")


def _weights_name(config: CellConfig) -> str:
    return f"p{config.loss.prompt_weight:g}-r{config.loss.response_weight:g}-s{config.seed}"


def _cell_folder(config: CellConfig, train_fingerprint: str) -> Path:
    for field, name in (
        ("study.name", config.study.name),
        ("scale.name", config.scale.name),
        ("dataset.name", config.dataset.name),
        ("model.name", config.model.name),
        ("suite.name", config.suite.name),
        ("judge.name", config.judge.name),
        ("recipe.name", config.recipe.name),
    ):
        names(field, name)
    runs = Path(config.execution.runs).absolute() / config.runs_name
    return runs / config.dataset.name / config.model.name / f"{_weights_name(config)}-{train_fingerprint[:8]}"
