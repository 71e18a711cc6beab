"""The folder of a built world: where it lies, and how it comes into being whole or not at all."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.files import read_json
from plw.identity import canonical_json, fingerprint
from plw.products import check_products
from plw.world.packaged import VERSION, bases_fingerprint, packaged_bases

ABANDONED_AFTER_S = 6 * 3600
"""Seconds after which a temporary folder belongs to nobody."""
WORLD_RECORD = "world.json"
"""The last file written: its presence says that the folder is whole."""


def payload(config: WorldConfig) -> dict[str, Any]:
    """What defines a world: the generator's version, every field of the config, and the packaged base models.

    Base models that are not in the package are pretrained on this machine and defined by the config alone.
    """
    manifest = packaged_bases(config)
    pinned = None if manifest is None else bases_fingerprint(manifest)
    return {"generator": VERSION, "config": asdict(config), "bases": pinned}


def world_fingerprint(config: WorldConfig) -> str:
    """SHA-256 of the payload, 64 hex digits."""
    return fingerprint(payload(config))


def folder(config: WorldConfig, root: Path) -> Path:
    """Where the world of a config lies under `root`, built or not."""
    return root / f"world-{world_fingerprint(config)[:8]}"


def is_built(path: Path, config: WorldConfig, *, always_verify: bool = False) -> bool:
    """Whether `path` holds the whole world of this config, as it was built.

    Args:
        path: the world's folder.
        config: the world's config.
        always_verify: read every file again, whatever was read before.

    Raises:
        UserError: it holds another one, or a file of it was changed.
    """
    if not (path / WORLD_RECORD).is_file():
        return False
    record = read_json(path / WORLD_RECORD)
    if canonical_json(record.get("payload")) != canonical_json(payload(config)):
        raise UserError(f"{path}: holds the world of another config; remove the folder or choose another cache folder")
    check_products(path, record.get("files", {}), made_by="the build of the world", always=always_verify, exact=False)
    return True


@contextmanager
def under_construction(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final` that is renamed to it at the end; nothing stays behind after an error.

    Builders at the same time do not meet: each has a folder of its own, and the first to finish names its folder.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final)
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    except OSError as error:
        raise UserError(f"{final.parent}: cannot be written ({error.strerror}); choose another cache folder") from None
    try:
        temporary.chmod(0o755)
        yield temporary
        _put_in_place(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(final: Path) -> None:
    """Temporary folders of builders that were killed: older than any build takes."""
    for path in final.parent.glob(f".{final.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def _put_in_place(temporary: Path, final: Path) -> None:
    if final.exists() and not (final / WORLD_RECORD).is_file():
        broken = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.broken."))
        os.replace(final, broken)
        shutil.rmtree(broken)
    try:
        temporary.rename(final)
    except OSError:
        if not (final / WORLD_RECORD).is_file():
            raise
