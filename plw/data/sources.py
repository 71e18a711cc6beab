"""Datasets that lie elsewhere: fetched once, whole or not at all, checked, and found again in the cache folder.

The cache repeats an address: ``<cache>/data/<host>/<path>``, and for the hub
``<cache>/data/huggingface.co/datasets/<owner>/<name>/<revision>/<file>``. A file put there by hand is as good as a
fetched one, so a machine without a network needs no other way.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from plw.config.fields import HUB_PREFIX
from plw.config.source import DataSource
from plw.data.download import download
from plw.data.inputs import Input, is_elsewhere
from plw.errors import UserError
from plw.files.hashing import file_hash
from plw.progress import Progress, no_progress

logger = logging.getLogger(__name__)

OF_SHARDS = re.compile(r"-(\d{5})-of-(\d{5})")
"""How the hub numbers the parts of a table: from 0, with their number."""


def local_files(dataset: DataSource, found: Input, cache: Path, progress: Progress = no_progress) -> list[Path]:
    """The dataset's files on this machine, in the order in which they are read; fetched if need be.

    Args:
        dataset: where the files lie and what their SHA-256 must be.
        found: the resolved path.
        cache: ``execution.cache``.
        progress: is told the bytes of a download.

    Raises:
        UserError: they cannot be had (the line says what to fetch, from where, and where to put it), some of them are
            missing, or their content is another than the config pins.
    """
    if not is_elsewhere(dataset.path):
        return [found.path]
    if dataset.path.startswith(HUB_PREFIX):
        files = _from_hub(dataset, cache)
    else:
        files = [_from_address(dataset.path, cache, f"{dataset.group}.path", progress)]
    if dataset.sha256 is not None and content_hash(files) != dataset.sha256:
        raise UserError(
            f"{files[0]}: SHA-256 of the content is {content_hash(files)}, but "
            f"{dataset.group}.sha256={dataset.sha256}; "
            "remove what is there to fetch it again"
        )
    return files


def content_hash(files: Sequence[Path]) -> str:
    """SHA-256 of a file's bytes; of several files, of the hashes of all in their order."""
    hashes = [file_hash(path) for path in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def place_of(address: str, cache: Path) -> Path:
    """Where the file of an address lies in the cache, fetched or not."""
    parts = urlsplit(address)
    steps = [step for step in unquote(parts.path).split("/") if step not in ("", ".", "..")]
    if parts.query:
        mark = hashlib.sha256(parts.query.encode()).hexdigest()[:8]
        steps = [*steps[:-1], f"{mark}-{steps[-1]}" if steps else mark]
    return cache / "data" / parts.netloc.rpartition("@")[2].replace(":", "_") / Path(*steps)


def _from_address(address: str, cache: Path, field: str, progress: Progress) -> Path:
    place = place_of(address, cache)
    if place.is_file():
        logger.info("%s is read from the cache: %s", address, place)
    else:
        download(address, place, field, progress)
        logger.info("%s was fetched to %s", address, place)
    return place


def _from_hub(dataset: DataSource, cache: Path) -> list[Path]:
    """The files that lie in our cache, else those in the hub's own, which is filled from the hub where they are not."""
    name, revision, pattern = dataset.path.removeprefix(HUB_PREFIX), str(dataset.revision), str(dataset.file)
    place = cache / "data" / "huggingface.co" / "datasets" / name / revision
    command = f"hf download {name} --repo-type dataset --revision {revision} --include '{pattern}' --local-dir DIR"
    how = f"without a network, fetch it elsewhere ({command}) and copy what is in DIR to {place}"
    files = sorted(place.glob(pattern))
    if files:
        logger.info("%s: %d files are read from the cache: %s", dataset.path, len(files), place)
    else:
        files = _in_snapshot(name, revision, pattern, f"{dataset.group}.path", how)
    missing = _missing_shard(files)
    if missing:
        raise UserError(
            f"{dataset.group}.path={dataset.path}: {missing} is not among the files in {files[0].parent}; {how}"
        )
    return files


def _in_snapshot(name: str, revision: str, pattern: str, field: str, how: str) -> list[Path]:
    """Files of the hub's own cache, all of them there, where need be after fetching them."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    what = f"{field}={HUB_PREFIX}{name}: {pattern} at revision {revision}"
    for offline in (True, False):
        try:
            with _quiet_hub():
                folder = snapshot_download(
                    name, repo_type="dataset", revision=revision, allow_patterns=[pattern], local_files_only=offline
                )
        except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
            if not offline:
                reason = " ".join(str(error).split())
                raise UserError(f"{what} cannot be fetched ({reason}); {how}") from None
        else:
            files = sorted(Path(folder).glob(pattern))
            if files and not (offline and _missing_shard(files)):
                logger.info(
                    "%s: %s", what, f"read from the hub's cache, {folder}" if offline else "fetched from the hub"
                )
                return files
    raise UserError(f"{what}: no such file there; {how}")


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """No bars and no words about each new try: one line at the end says what came of it."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars, words = not are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(words)
        if bars:
            enable_progress_bars()


def _missing_shard(files: Sequence[Path]) -> str | None:
    """The first part that a table in numbered parts lacks; a download that was cut may have left a few."""
    seen: dict[tuple[str, int], set[int]] = {}
    for path in files:
        numbered = OF_SHARDS.search(path.name)
        if numbered:
            parts = seen.setdefault((path.name[: numbered.start()], int(numbered[2])), set())
            parts.add(int(numbered[1]))
    for (table, total), parts in seen.items():
        for part in sorted(set(range(total)) - parts):
            return f"part {part} of {total} of {table}"
    return None
