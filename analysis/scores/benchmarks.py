"""What a study was scored on, from what its stages were asked to do: benchmarks with their groups and settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.scores.choice import StudyChoice
from plw.errors import UserError
from plw.files.reading import read_json
from plw.paths import PAYLOAD, RECORD
from plw.registry.rows import StageRow
from plw.registry.schema import DONE
from plw.results.score import protocol_metric

TRANSLATION_METRICS = frozenset({"bleu", "chrf", "ter"})
CHOICE_METRICS = frozenset({"acc", "acc_norm", "mc1", "mc2"})


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """The benchmarks of one suite."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """Benchmark -> group (``multiple_choice``, ``short_generation``, ``translation``, ``long_generation``)."""
    info: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Benchmark -> ``task``, ``shots`` and ``metric``, as Table 2 shows them."""


Configured = Callable[[str], Benchmarks | None]
"""Name of a suite -> what the config says of it, where there is such a suite."""


def asked_benchmarks(
    headline: pd.DataFrame,
    stages: Iterable[StageRow],
    folders: Mapping[str, Path],
    choice: StudyChoice,
    configured: Configured | None = None,
) -> tuple[Benchmarks, list[str]]:
    """The benchmarks that the stages of a suite were asked for.

    The newest stage of each kind says which; where its files are not there, the config of that suite does, and else the
    scores. A group is from the record, else from the config, else told by the metric.

    Args:
        headline: headline scores of the suite.
        stages: of the study.
        folders: cell -> its folder.
        choice: the suite and the judge.
        configured: what the config says of a suite.

    Returns:
        The benchmarks, and one line on each group that was told by its metric alone.
    """
    known = (configured and configured(choice.suite)) or Benchmarks()
    info, groups = _from_stages(list(stages), folders, choice)
    if not info:
        info = {name: dict(of) for name, of in known.info.items()} or {name: {} for name in known.groups}
    first = headline.drop_duplicates("benchmark").set_index("benchmark")
    notes = []
    for name in [*info, *(name for name in first.index if name not in info)]:
        info.setdefault(name, {})
        if name not in groups:
            metric, judge = (first.loc[name, "metric"], first.loc[name, "judge"]) if name in first.index else ("", "")
            groups[name] = known.groups.get(name) or _group_of(info[name].get("metric") or str(metric), str(judge))
            if name not in known.groups and judge == "":
                notes.append(f"{name} counts as {groups[name].replace('_', ' ')}, told by its metric alone.")
        if not info[name] and name in known.info:
            info[name] = dict(known.info[name])
    return Benchmarks(groups={name: groups[name] for name in info}, info=info), notes


def _from_stages(
    stages: Sequence[StageRow], folders: Mapping[str, Path], choice: StudyChoice
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What the newest harness and judge stages of the suite were asked for, and the groups that their records name."""
    info: dict[str, dict[str, Any]] = {}
    groups: dict[str, str] = {}
    judges = [("judge", f"judge-{choice.suite}-{judge}") for judge in choice.judges]
    for kind, name in [("harness", f"harness-{choice.suite}"), *judges]:
        of_kind = [stage for stage in stages if stage.name == name and stage.kind == kind and stage.cell in folders]
        # Done before failed, then the newest; a few are tried, since files may be gone or damaged.
        of_kind.sort(key=lambda stage: (stage.status != DONE, -(stage.finished or 0.0)))
        for stage in of_kind[:3]:
            folder = folders[stage.cell] / stage.name
            payload = _mapping(folder / PAYLOAD) or _mapping(folder / RECORD).get("payload")
            found = _told(payload if isinstance(payload, dict) else {})
            if found:
                info |= {name: about for name, about in found.items() if name not in info}
                recorded = _mapping(folder / RECORD).get("groups")
                groups |= recorded if isinstance(recorded, dict) else {}
                groups |= {name: "long_generation" for name in found if kind == "judge"}
                break
    return info, {name: str(group) for name, group in groups.items() if name in info}


def _told(payload: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Benchmark -> task, shots and metric, from the payload of a harness or a judge stage."""
    tasks, protocols = payload.get("tasks"), payload.get("protocols")
    if isinstance(tasks, dict) and all(isinstance(task, dict) for task in tasks.values()):
        return {
            str(name): {"task": task.get("task"), "shots": str(task.get("shots", "–")), "metric": task.get("metric")}
            for name, task in tasks.items()
        }
    if isinstance(protocols, dict):
        return {
            str(name): {"task": task, "shots": "–", "metric": protocol_metric(str(task))}
            for name, task in protocols.items()
        }
    return {}


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON object; nothing where there is none."""
    try:
        value = read_json(path)
    except (OSError, UserError):
        return {}
    return value if isinstance(value, dict) else {}


def _group_of(metric: str, judge: str) -> str:
    if judge:
        return "long_generation"
    if metric in TRANSLATION_METRICS:
        return "translation"
    return "multiple_choice" if metric in CHOICE_METRICS else "short_generation"
