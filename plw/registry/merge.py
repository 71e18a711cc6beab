"""Takes over the finished stages of another runs folder; records are the truth, and nothing is overwritten."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.errors import UserError
from plw.files.products import check_products
from plw.files.sealed import read_sealed_json
from plw.paths import LOG, PAYLOAD, RECORD
from plw.progress import Progress, no_progress
from plw.registry.claim import Busy
from plw.registry.garbage import MOVED
from plw.registry.owner import LEASE_TIMEOUT_S, Owner
from plw.registry.rebuild import check_runs, record_paths
from plw.registry.rows import StageRecord
from plw.registry.store import Registry


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeCounts:
    """What became of the other folder's finished stages, and a line for each that was left out."""

    taken: int
    same: int
    problems: tuple[str, ...]


def merge(
    url: str, runs: Path, other: Path, progress: Progress = no_progress, *, lease_timeout_s: float = LEASE_TIMEOUT_S
) -> MergeCounts:
    """Copy the finished stages that another runs folder has and this one lacks, and put their rows into the registry.

    A cell that both have finished with different results (scores, or files but for the training's log) stays as it is
    here, with all its stages: later stages of the other rest on another model. Files are compared with their hashes
    before they are copied, and a stage comes into being whole.

    Args:
        url: SQLAlchemy address of the registry of ``runs``; made where it is missing.
        runs: folder that is added to.
        other: folder that is read.
        progress: told of every record.
        lease_timeout_s: seconds of silence after which a running stage counts as abandoned.

    Raises:
        UserError: no such folder, or both are one.
    """
    check_runs(other)
    if runs.exists() and runs.samefile(other):
        raise UserError(f"{other} is the runs folder itself; give the other one")
    paths = record_paths(other)
    problems: list[str] = []
    taken = same = 0
    apart: set[Path] = set()
    for path in paths:
        place = path.parent.relative_to(other)
        if place.parent not in apart and (problem := _conflict(runs / place, path.parent)):
            apart.add(place.parent)
            problems.append(f"{place.parent}: {problem}; the cell is left as it is here")
    with Registry.open(url) as registry:
        for number, path in enumerate(paths, start=1):
            place = path.parent.relative_to(other)
            if (runs / place / RECORD).exists():
                same += place.parent not in apart
            elif place.parent not in apart:
                try:
                    _take(registry, path.parent, runs / place, place, lease_timeout_s)
                    taken += 1
                except UserError as error:
                    problems.append(str(error))
            progress(number, len(paths), f"{len(problems)} left out" if problems else "")
    return MergeCounts(taken=taken, same=same, problems=tuple(problems))


def _conflict(ours: Path, theirs: Path) -> str:
    """In what two finished stages differ; empty where only one is finished, or they say the same."""
    if not (ours / RECORD).exists():
        return ""
    try:
        here, there = read_sealed_json(ours / RECORD), read_sealed_json(theirs / RECORD)
        if here["fingerprint"] != there["fingerprint"]:
            return f"{ours.name} is of another identity there"
        if here["scores"] != there["scores"]:
            return f"{ours.name} has other scores there"
        hashes = [{name: about["sha256"] for name, about in record["products"].items()} for record in (here, there)]
    except (UserError, KeyError, TypeError, AttributeError) as error:
        return str(error) if isinstance(error, UserError) else f"{ours.name} has a record without {error}"
    differing = sorted(name for name, _ in hashes[0].items() ^ hashes[1].items() if name != LOG)
    return f"{ours.name}/{differing[0]} has another hash there" if differing else ""


def _take(registry: Registry, theirs: Path, ours: Path, place: Path, lease_timeout_s: float) -> None:
    """Copy one finished stage under its claim.

    Raises:
        UserError: its record or a file is not whole, or a worker holds the stage.
    """
    record: dict[str, Any] = read_sealed_json(theirs / RECORD)
    parsed = StageRecord.parse(record, str(theirs / RECORD))
    if place != Path(parsed.cell.folder) / parsed.stage:
        raise UserError(f"{theirs / RECORD}: says that it is of {parsed.cell.folder}/{parsed.stage}")
    products = record.get("products", {})
    if products:
        check_products(theirs, products, made_by=parsed.stage, always=True, exact=False)
    copy = ours.with_name(f".{ours.name}.{os.getpid()}{MOVED}")
    try:
        for name in (*products, PAYLOAD, RECORD):
            source = theirs / name
            if not source.resolve().is_relative_to(theirs.resolve()):
                raise UserError(f"{source}: leads out of its folder")
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        _put(registry, parsed, record, copy, ours, lease_timeout_s)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _put(
    registry: Registry, parsed: StageRecord, record: dict[str, Any], copy: Path, ours: Path, lease_timeout_s: float
) -> None:
    """Put the copy in the place of an attempt that is not finished, while the claim is ours."""
    registry.ensure_cell(parsed.cell)
    owner = Owner.here()
    # A row that is done without a record here is done again, by the record that comes.
    answer = registry.claim(
        parsed.key,
        kind=parsed.kind,
        fingerprint=parsed.fingerprint,
        owner=owner,
        lease_timeout_s=lease_timeout_s,
        redo=True,
    )
    if isinstance(answer, Busy):
        raise UserError(f"{parsed.cell.folder}/{parsed.stage}: {answer.owner} works on it; left out")
    if (ours / RECORD).exists():
        registry.finish(parsed.key, owner.token, read_sealed_json(ours / RECORD))
        raise UserError(f"{parsed.cell.folder}/{parsed.stage}: was finished here in the meantime; left as it is")
    if ours.exists():
        unfinished = ours.with_name(f".{ours.name}.{os.getpid()}.unfinished{MOVED}")
        ours.rename(unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)
    copy.rename(ours)
    registry.finish(parsed.key, owner.token, record)
