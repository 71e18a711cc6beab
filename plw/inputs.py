"""Where a path of the config leads, and the hash of what lies there: the content half of an identity.

A path is a file or folder of this machine, a hub name, or ``world:<path>`` inside the embedded world's folder. The
world's parts are identified by the world's own fingerprint, so a study can be planned before the world is built.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from plw.errors import UserError
from plw.files import file_hash, folder_hash

WORLD_PREFIX = "world:"
MODEL_FILES = (
    "*.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "*.model",
)
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Input:
    """A resolved path: where to load from, and what identifies its content."""

    location: str
    content: str
    source: str | None = None
    """Where the file is to be had; set only where it is not here yet, so that its content, and with it the
    fingerprints of the stages that read it, are not final."""

    @property
    def path(self) -> Path:
        """The location as a path; meaningful for files and folders only."""
        return Path(self.location)


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Turns config paths into inputs."""

    world_folder: Path
    world_fingerprint: str

    def file(self, path: str, field: str, source: str | None = None) -> Input:
        """A data file; one that is to be had from ``source`` may be absent as yet.

        Raises:
            UserError: no such file, or a folder; the line names the config field.
        """
        if path.startswith(WORLD_PREFIX):
            return self._world(path)
        location = Path(path).expanduser()
        if source is not None and not location.exists():
            return Input(location=str(location.absolute()), content=f"absent:{source}", source=source)
        if not location.exists():
            raise UserError(f"{field}={path}: no such file (looked in {location.absolute().parent})")
        if not location.is_file():
            raise UserError(f"{field}={path} is a folder; give a file")
        return Input(location=str(location.absolute()), content=file_hash(location))

    def model(self, path: str, revision: str | None, field: str) -> Input:
        """A model folder, or a hub name at a revision.

        Raises:
            UserError: neither an existing folder with a config.json nor the form of a hub name.
        """
        if path.startswith(WORLD_PREFIX):
            return self._world(path)
        location = Path(path).expanduser()
        if location.is_dir():
            return Input(location=str(location.absolute()), content=_model_hash(location.absolute(), field))
        if path.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(path):
            raise UserError(f"{field}={path}: no such folder, and not of the form of a hub name (owner/name)")
        return Input(location=path, content=f"hub:{path}@{revision or 'main'}")

    def _world(self, path: str) -> Input:
        inside = path.removeprefix(WORLD_PREFIX)
        return Input(location=str(self.world_folder / inside), content=f"world:{self.world_fingerprint}:{inside}")


def _model_hash(folder: Path, field: str) -> str:
    if not (folder / "config.json").is_file():
        raise UserError(f"{field}={folder}: not a model folder (no config.json in it)")
    return folder_hash(folder, MODEL_FILES)
