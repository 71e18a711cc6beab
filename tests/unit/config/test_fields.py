"""Marks of config fields: those of schemas inside schemas are found by their whole path."""

import dataclasses

from plw.config import CellConfig
from plw.config.fields import EXECUTION, UNTIL_DONE, paths_until_done


@dataclasses.dataclass(frozen=True)
class Inner:
    share: float = dataclasses.field(default=0.1, metadata=UNTIL_DONE)
    other: int = 1


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    named: dict[str, int] = dataclasses.field(default_factory=dict)
    own: int = dataclasses.field(default=1, metadata=UNTIL_DONE)
    threads: int = dataclasses.field(default=1, metadata=EXECUTION)


def test_fields_that_may_change_until_a_stage_is_done_are_found_at_any_depth() -> None:
    assert paths_until_done(Outer) == {"inner.share", "own"}
    assert "judge.max_unparsed" in paths_until_done(CellConfig)
