"""Finished work copied elsewhere: the records and items of stages, and reports, below ``execution.publish``.

The copy has the names of the runs folder. A stage's record is copied last, so a record that is there says, as in the
runs folder, that all of its stage is. Publishing never fails a cell: what could not be copied is told and tried again
at the end of the command, and `plw publish` copies whatever is missing.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from plw.config import CellConfig
from plw.errors import UserError
from plw.files.remote_folder import RemoteFolder, reason_of
from plw.paths import PAYLOAD, RECORD
from plw.progress import Progress, no_progress
from plw.results.items import ITEMS

FIELD = "execution.publish"
STAGE_FILES = (ITEMS, PAYLOAD, RECORD)
"""What is copied of a stage, in this order; a stage that scores nothing has no items."""
PAGE = "index.html"
"""A report's page; copied after what it shows."""
PAUSE_S = 300.0
"""After a failure a worker goes on with its cells for so long before it tries the address again."""

logger = logging.getLogger(__name__)

_paused_until: dict[str, float] = {}


@dataclass(kw_only=True)
class PublishResult:
    """What became of an attempt to copy."""

    copied: int = 0
    """Files."""
    present: int = 0
    """Files that were there already."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name of a file that could not be copied -> the reason."""


def check_publish(config: CellConfig) -> None:
    """Refuse an address that cannot be written.

    Raises:
        UserError: it cannot, or it is the runs folder itself.
    """
    if config.execution.publish is None:
        return
    remote = RemoteFolder(config.execution.publish, FIELD)
    if remote.local is not None and remote.local.resolve() == Path(config.execution.runs).resolve():
        raise UserError(f"{FIELD}={config.execution.publish} is the folder of the results itself; give another one")
    remote.check_writable()


def publish_stage(config: CellConfig, folder: Path) -> bool:
    """Copy a stage that has just been finished; whether nothing is left to do. What fails is a warning."""
    address = config.execution.publish
    if address is None:
        return True
    if time.monotonic() < _paused_until.get(address, 0.0):
        return False
    try:
        remote, runs = RemoteFolder(address, FIELD), config.execution.runs_folder
        for name in STAGE_FILES:
            if (folder / name).exists():
                remote.put(folder / name, (folder / name).relative_to(runs).as_posix())
    except Exception as error:
        _paused_until[address] = time.monotonic() + PAUSE_S
        logger.warning("%s is not published (%s); tried again at the end of the command", folder, reason_of(error))
        return False
    return True


def publish_missing(config: CellConfig, folders: Sequence[Path], progress: Progress = no_progress) -> PublishResult:
    """Copy what the address lacks of finished stages.

    A record that is equal there says that what it names was copied before it; other files are compared by size.

    Args:
        config: names the address and the runs folder.
        folders: of the stages; those without a record are passed over.
        progress: told of every stage.

    Raises:
        UserError: the address cannot be used at all.
    """
    remote, runs = _open(config), config.execution.runs_folder
    finished = {folder.relative_to(runs).as_posix(): folder for folder in folders if (folder / RECORD).exists()}
    result = PublishResult()
    try:
        there = remote.sizes(_common(list(finished)))
        records = dict(remote.read(f"{name}/{RECORD}" for name in finished if f"{name}/{RECORD}" in there))
    except Exception as error:
        result.failed = dict.fromkeys((f"{name}/{RECORD}" for name in finished), reason_of(error))
        return result

    def lacking(name: str, folder: Path) -> list[str]:
        is_same = records.get(f"{name}/{RECORD}") == (folder / RECORD).read_bytes()
        files = [file for file in STAGE_FILES if (folder / file).exists()]
        wanted = [
            file for file in files if not is_same or there.get(f"{name}/{file}") != (folder / file).stat().st_size
        ]
        result.present += len(files) - len(wanted)
        return wanted

    jobs = [
        [(folder / file, f"{name}/{file}") for file in wanted]
        for name, folder in finished.items()
        if (wanted := lacking(name, folder))
    ]
    _copy_all(remote, jobs, result, progress)
    return result


def publish_report(config: CellConfig, report: Path) -> PublishResult:
    """Copy a report, its page last. Files of an earlier one that it no longer has stay there.

    Raises:
        UserError: the address cannot be used at all.
    """
    remote, result = _open(config), PublishResult()
    files = sorted((path for path in report.rglob("*") if path.is_file()), key=lambda path: path.name == PAGE)
    home = f"{config.runs_name}/{report.name}"
    parts = [(path, f"{home}/{path.relative_to(report).as_posix()}") for path in files]
    _copy_all(remote, [parts], result, no_progress)
    return result


def _open(config: CellConfig) -> RemoteFolder:
    if config.execution.publish is None:
        raise UserError(f"there is no address to publish to; give {FIELD}=ADDRESS, such as s3://BUCKET/FOLDER")
    return RemoteFolder(config.execution.publish, FIELD)


def _common(names: Sequence[str]) -> str:
    """The deepest folder that all the names lie in."""
    parts = [name.split("/") for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared)


Parts = list[tuple[Path, str]]
"""Files and their names at the address, in the order in which they are copied."""


def _copy_all(remote: RemoteFolder, jobs: Sequence[Parts], result: PublishResult, progress: Progress) -> None:
    """Copy each job's files in their order, several jobs at a time; note what became of them."""

    def copy(parts: Parts) -> PublishResult:
        """None is copied after one that failed: what comes later vouches for what came before."""
        made = PublishResult()
        for path, name in parts:
            try:
                remote.put(path, name)
            except Exception as error:
                made.failed[name] = reason_of(error)
                break
            made.copied += 1
        return made

    with ThreadPoolExecutor(remote.at_once) as pool:
        for number, made in enumerate(pool.map(copy, jobs), start=1):
            result.copied += made.copied
            result.failed |= made.failed
            progress(number, len(jobs))
