"""Records, their files and the registry's rows compared: whether all is as it was finished. Changes nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.errors import UserError
from plw.files.products import check_products
from plw.files.sealed import read_sealed_json
from plw.progress import Progress, no_progress
from plw.registry.reader import FinishedStage
from plw.registry.rebuild import record_paths
from plw.registry.rows import StageKey, StageRecord
from plw.registry.store import Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What was looked at, and a line for each thing that is not as it was finished."""

    records: int
    files: int
    bytes: int
    problems: tuple[str, ...]


def verify_results(url: str, runs: Path, progress: Progress = no_progress) -> Verification:
    """Read every file that a record below the runs folder names, and every row that the registry has of it.

    Args:
        url: SQLAlchemy address of the registry.
        runs: folder of the results.
        progress: told of every record.

    Raises:
        UserError: no such runs folder, or no registry.
    """
    paths = record_paths(runs)
    problems: list[str] = []
    records: dict[StageKey, StageRecord] = {}
    files = size = 0
    for number, path in enumerate(paths, start=1):
        try:
            read: dict[str, Any] = read_sealed_json(path)
            record = StageRecord.parse(read, str(path))
            records[record.key] = record
            products = read.get("products", {})
            if products:
                check_products(path.parent, products, made_by=record.stage, always=True, exact=False)
            files += len(products)
            size += sum(int(about["size"]) for about in products.values())
        except (UserError, OSError, KeyError, TypeError, AttributeError) as error:
            problems.append(_with_remedy(error, path))
        progress(number, len(paths), f"{len(problems)} problems" if problems else "")
    with Registry.open(url, create=False) as registry:
        problems += _rows_that_differ(registry, records)
    return Verification(records=len(paths), files=files, bytes=size, problems=tuple(problems))


def _with_remedy(error: Exception, path: Path) -> str:
    """What is wrong with a record or a file that it names, and what helps."""
    line = str(error) if isinstance(error, UserError) else f"{path}: {error!r}"
    remedy = f"remove {path.parent} to make"
    return line if remedy in line else f"{line}; {remedy} the stage again"


def _rows_that_differ(registry: Registry, records: dict[StageKey, StageRecord]) -> list[str]:
    """Stages that the registry knows otherwise, or that only one of the two knows."""
    problems = []
    for study, scale in sorted({(key.study, key.scale) for key in records} | registry.studies()):
        finished = registry.finished_stages(study=study, scale=scale)
        values = registry.score_values(study=study, scale=scale)
        of_study = {key: record for key, record in records.items() if (key.study, key.scale) == (study, scale)}
        for key, record in of_study.items():
            if problem := _difference(record, finished.get(key), values):
                place = f"{record.cell.folder}/{record.stage}"
                problems.append(f"{place}: the registry has {problem}; `plw registry rebuild` restores it")
        problems += [
            f"{key}: finished by the registry, but its record is not there; the same command does it again"
            for key in finished
            if key not in records
        ]
    return problems


def _difference(record: StageRecord, known: FinishedStage | None, values: dict[tuple[str, ...], float]) -> str:
    """What the registry has that the record does not say; empty where they agree."""
    if known is None:
        return "no such finished stage"
    if not known.holds({"scores": record.scores, "curves": record.curves, "fingerprint": record.fingerprint}):
        return "other rows of it"
    for score in record.scores:
        name = (record.cell.cell, record.stage, score.suite, score.benchmark, score.metric, score.judge or "")
        if values.get(name) != score.value:
            return f"another value of {score.benchmark} {score.metric}"
    return ""
