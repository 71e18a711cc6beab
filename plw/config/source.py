"""Where data come from: a file, an address, a file of the hub or one of the embedded world, each pinned by its kind."""

import re
from dataclasses import dataclass, field
from typing import ClassVar

from plw.config.checks import given
from plw.config.fields import HUB_PREFIX, LATER
from plw.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A named file of data, or several of the hub."""

    group: ClassVar[str]
    """The config's group, by which messages name a field."""
    name: str
    """Short name; a folder of the run's path and a column of the registry."""
    path: str
    """A JSON, JSONL, parquet or CSV file; its https address; `hub:<owner>/<name>`; or `world:<file>` of the embedded
    world (`world:instructions/<name>.json`)."""
    revision: str | None = field(default=None, metadata=LATER)
    """Commit of a hub dataset; a hub dataset needs one."""
    file: str | None = field(default=None, metadata=LATER)
    """Files of a hub dataset, as a pattern: `data/train-*.parquet`. They are read in the order of their names."""
    sha256: str | None = field(default=None, metadata=LATER)
    """What the file's SHA-256 must be; it then is the data's identity, wherever the file comes from."""

    def check_source(self) -> None:
        """The fields above go together.

        Raises:
            UserError: they do not; the line names the field.
        """
        given(f"{self.group}.name", self.name)
        given(f"{self.group}.path", self.path)
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise UserError(f"{self.group}.sha256={self.sha256} is no SHA-256; it has 64 digits of 0-9 and a-f")
        for name in ("revision", "file"):
            if self.path.startswith(HUB_PREFIX) != (getattr(self, name) is not None):
                raise UserError(
                    f"{self.group}.{name}={getattr(self, name)} does not go with {self.group}.path={self.path}; "
                    f"a hub dataset ({HUB_PREFIX}owner/name) needs one and nothing else takes one"
                )
        if self.revision is not None and not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise UserError(
                f"{self.group}.revision={self.revision} may move; give the commit, 40 digits of 0-9 and a-f"
            )
        if self.file is not None and (self.file.startswith("/") or ".." in self.file.split("/")):
            raise UserError(f"{self.group}.file={self.file} leaves the repository; give a path inside it")
