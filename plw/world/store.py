"""The folder of a built world: where it lies, what defines it, and whether it is whole."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.files.products import check_products
from plw.files.reading import read_json
from plw.results.identity import canonical_json, fingerprint
from plw.world.packaged import VERSION, bases_fingerprint, packaged_bases, packaged_state

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
    """SHA-256 of the payload, 64 hex digits; a grid's cells share its working out."""
    key = (repr(config), packaged_state())
    if key not in _known:
        _known[key] = fingerprint(payload(config))
    return _known[key]


_known: dict[tuple[str, tuple[int, int] | None], str] = {}
"""Fields of a config, and the state of the packaged base models -> fingerprint."""


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
