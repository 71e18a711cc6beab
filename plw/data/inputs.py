"""Where a path of the config leads, and the hash of what lies there: the content half of an identity.

A path is a file or folder of this machine, a hub name, an address, or ``world:<path>`` inside the embedded world's
folder; a model in a GGUF file is read from the folder that it is unpacked to. The world's parts are identified by the
world's own fingerprint; what lies elsewhere by its SHA-256 where the config pins that, by address and revision
otherwise. So a study can be planned before anything is built or fetched.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plw.config.fields import HUB_PREFIX
from plw.config.source import DataSource
from plw.errors import UserError, named
from plw.files.hashing import file_hash
from plw.pretrained.gguf_file import SUFFIX, check_gguf, unpacked_folder
from plw.pretrained.model_folder import check_model_folder, model_hash

if TYPE_CHECKING:
    from plw.config import CellConfig

WORLD_PREFIX = "world:"
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Input:
    """A resolved path: where to load from, and what identifies its content."""

    location: str
    content: str
    source: str | None = None
    """Where the file is to be had; set only where it is not here yet, so that its content, and with it the
    fingerprints of the stages that read it, are not final."""
    packed: Path | None = None
    """The GGUF file that the location, a model's folder, is unpacked from before it is first read."""
    asked: str = ""
    """The config field and its value, for messages."""
    again: "Callable[[], Input] | None" = field(default=None, compare=False, repr=False)
    """Resolves it anew; None for what cannot change under a name: the world's parts, and what lies elsewhere."""

    @property
    def path(self) -> Path:
        """The location as a path; meaningful for files and folders only."""
        return Path(self.location)


def check_unchanged(inputs: Iterable[Input]) -> None:
    """Compare files and folders that are about to be read with what they were when their cell was planned.

    A cell is named by the content of its inputs; what is read hours later has to be that content.

    Raises:
        UserError: one was changed or is gone; the line names the config field.
    """
    for item in inputs:
        now = item.content if item.again is None else item.again().content
        if now != item.content:
            raise UserError(
                f"{item.asked} was changed since the command began (its hash was {item.content[:16]} and is {now[:16]}"
                "): put it back and give the command again, or give what is there now a name of its own"
            )


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Turns config paths into inputs."""

    world_folder: Path
    world_fingerprint: str
    cache: Path
    """Folder of what is made once: models of GGUF files are unpacked there."""

    def file(self, path: str, field: str, source: str | None = None) -> Input:
        """A data file; one that is to be had from ``source`` may be absent as yet.

        Raises:
            UserError: no such file, or a folder; the line names the config field.
        """
        if in_world(path):
            return self._world(path)
        location = Path(path).expanduser()
        if source is not None and not location.exists():
            return Input(location=str(location.absolute()), content=f"absent:{source}", source=source)
        if not location.exists():
            what = f"a link to {location.readlink()}, where no file is" if location.is_symlink() else "no such file"
            raise UserError(f"{field}={path}: {what} (looked in {location.absolute().parent})")
        if not location.is_file():
            kind = _folder(location) if location.is_dir() else "is a pipe or a device; give a file"
            raise UserError(f"{field}={path} {kind}")
        return Input(
            location=str(location.absolute()),
            content=file_hash(location),
            asked=f"{field}={path}",
            again=partial(self.file, path, field),
        )

    def data(self, dataset: DataSource) -> Input:
        """A dataset's file, here or elsewhere; of one that lies elsewhere the location is the address.

        Raises:
            UserError: no such file, an address that is not safe, or a file of another content than the config pins.
        """
        path, pinned, field = dataset.path, dataset.sha256, f"{dataset.group}.path"
        if path.startswith(HUB_PREFIX):
            name = path.removeprefix(HUB_PREFIX)
            if not HUB_NAME.fullmatch(name):
                raise UserError(f"{field}={path}: not of the form {HUB_PREFIX}owner/name")
            return Input(location=path, content=pinned or f"hub:datasets/{name}@{dataset.revision}:{dataset.file}")
        if ADDRESS.match(path):
            check_address(path, field)
            return Input(location=path, content=pinned or f"url:{path}")
        found = self.file(path, field)
        if pinned is not None and not in_world(path) and found.content != pinned:
            raise UserError(f"{field}={path}: its SHA-256 is {found.content}, but {dataset.group}.sha256={pinned}")
        return found

    def model(
        self,
        path: str,
        revision: str | None,
        field: str,
        *,
        trust_remote_code: bool = False,
        pickled: bool = False,
    ) -> Input:
        """A model folder, a GGUF file, or a hub name at a revision.

        Args:
            path: as the config has it.
            revision: of the hub.
            field: the config field, for messages.
            trust_remote_code: whether code of the folder is run, and so is part of its content.
            pickled: whether weights from before safetensors are allowed.

        Raises:
            UserError: neither a folder or file whose model can be loaded, as far as headers tell, nor the form of a hub
                name.
        """
        if in_world(path):
            return self._world(path)
        location = Path(path).expanduser()
        anew = partial(self.model, path, revision, field, trust_remote_code=trust_remote_code, pickled=pickled)
        if location.is_dir():
            folder = location.absolute()
            check_model_folder(folder, field, trust_remote_code=trust_remote_code, pickled=pickled)
            return Input(
                location=str(folder),
                content=model_hash(folder, trust_remote_code=trust_remote_code, pickled=pickled),
                asked=f"{field}={path}",
                again=anew,
            )
        if location.is_file() and path.endswith(SUFFIX):
            check_gguf(location, field)
            file = location.absolute()
            folder = unpacked_folder(file, self.cache)
            content = f"gguf:{file_hash(file)}"
            return Input(location=str(folder), content=content, packed=file, asked=f"{field}={path}", again=anew)
        if location.is_file():
            raise UserError(f"{field}={path} is a file; give the model's folder, or a {SUFFIX} file")
        if path.startswith((".", "/", "~")) or path.endswith(SUFFIX) or not HUB_NAME.fullmatch(path):
            raise UserError(f"{field}={path}: no such folder or file, and not of the form of a hub name (owner/name)")
        return Input(location=path, content=f"hub:{path}@{revision or 'main'}")

    def _world(self, path: str) -> Input:
        inside = path.removeprefix(WORLD_PREFIX)
        return Input(location=str(self.world_folder / inside), content=f"world:{self.world_fingerprint}:{inside}")


def _folder(location: Path) -> str:
    """What is said of a folder where a file should be."""
    if any((location / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return "is a folder of datasets' save_to_disk; write the data by to_parquet or to_json, and give that file"
    if (location / "config.json").is_file():
        return "is a model's folder; give a file of data"
    files = sorted(path.name for path in location.glob("*") if path.is_file() and not path.name.startswith("."))
    return f"is a folder; give a file (there: {named(files)}), of several parts one that holds all their rows"


def foreign_prompts(config: "CellConfig") -> list[str]:
    """The sets of prompts that a judge is to compare answers to and that are not the embedded world's."""
    return [name for name, item in config.judged.items() if not in_world(item.prompts)]


def in_world(path: str) -> bool:
    """Whether a path of the config leads into the embedded world, and not to a file or folder of the user's."""
    return path.startswith(WORLD_PREFIX)


def is_elsewhere(path: str) -> bool:
    """Whether a dataset's path leads to another machine."""
    return path.startswith(HUB_PREFIX) or ADDRESS.match(path) is not None


def check_address(address: str, field: str) -> None:
    """An address is https, or http to this very machine.

    Raises:
        UserError: it is not; what travels in the clear could be changed on its way.
    """
    parts = urlsplit(address)
    if not (parts.hostname and parts.scheme == "https") and not (parts.hostname in LOOPBACK and parts.scheme == "http"):
        raise UserError(f"{field}={address}: allowed are https addresses, and http on {', '.join(LOOPBACK)}")
    if parts.username is not None or parts.password is not None:
        raise UserError(f"{field}: the address holds a name or password, which would be kept in records; leave it out")
