"""The inputs of a cell, resolved: where each file, model and prompt is, and what identifies its content."""

from dataclasses import dataclass

from plw.config import CellConfig
from plw.config.evaluation import MT_BENCH, REFERENCE
from plw.data.inputs import Input, Resolver
from plw.errors import UserError


@dataclass(frozen=True, kw_only=True)
class CellInputs:
    """What a cell is made from and scored with."""

    model: Input
    dataset: Input
    pairs: Input | None
    """Pairs of the preference stage, where the cell has one."""
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


def resolve_inputs(config: CellConfig, resolver: Resolver) -> CellInputs:
    """Find everything that the config names.

    Raises:
        UserError: an input that does not exist, or a judge that has nothing to compare.
    """
    suite, trusted = config.suite, config.model.trust_remote_code
    model = resolver.model(config.model.path, config.model.revision, "model.path", trust_remote_code=trusted)
    dataset = resolver.data(config.dataset)
    pairs = resolver.data(config.preference) if config.preference.asked else None
    files = {
        name: {split: resolver.file(path, f"suite.tasks.{name}.files.{split}") for split, path in task.files.items()}
        for name, task in suite.tasks.items()
    }
    prompts = {
        name: resolver.file(item.prompts, f"suite.prompts.{name}.prompts", item.source)
        for name, item in suite.prompts.items()
    }
    asked = suite.sensitivity
    sensitivity = None if asked is None else resolver.file(asked.prompts, "suite.sensitivity.prompts", asked.source)
    judge_weights, opponents = _judge_inputs(config, resolver)
    return CellInputs(
        model=model,
        dataset=dataset,
        pairs=pairs,
        files=files,
        prompts=prompts,
        grading=_grading_inputs(config, resolver),
        sensitivity=sensitivity,
        judge_weights=judge_weights,
        opponents=opponents,
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
    weights = resolver.model(str(judge.path), judge.revision, "judge.path", pickled=True)
    if weights.packed is not None:
        raise UserError(f"judge.path={judge.path} is a GGUF file; give the folder or hub name of the judge's weights")
    return weights, opponents


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
