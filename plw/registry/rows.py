"""The rows of the registry as dataclasses, and the reading of a ``record.json`` into them with every field checked.

A row is declared here once: its table (``schema``), the part of a record that holds it and its columns in a data frame
follow from the dataclass. A field that may be None is a column that may be NULL.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from typing import Any, Self, TypeVar, get_args, get_type_hints

from plw.errors import UserError, shortened
from plw.results.score import Score
from plw.runtime.machine import host_name

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class CellKey:
    """Names one cell of a study at a scale."""

    study: str
    scale: str
    cell: str
    """The cell's whole fingerprint, hex."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class StageKey(CellKey):
    """Names one stage of one cell."""

    name: str

    def __str__(self) -> str:
        return f"{self.study}-{self.scale} {self.cell[:8]} {self.name}"


STANDS_FOR = {"dataset": ("dataset", "template"), "model": ("model",), "recipe": ("recipe",)}
"""Name of a cell -> fields of its payload that the name stands for: cells of one name compare if these are equal."""
WITHIN = {"recipe": ("dataset", "model")}
"""Name of a cell -> names that a study may set its fields by (`study.by_dataset`): one thing within each of these."""


def name_contents(payload: str) -> dict[str, dict[str, Any]]:
    """Name of a cell -> those fields of its payload, as the registry keeps it, that the name stands for."""
    said = json.loads(payload)
    return {name: {field: said.get(field) for field in fields} for name, fields in STANDS_FOR.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRow(CellKey):
    """One point of the grid."""

    dataset: str
    model: str
    prompt_weight: float
    response_weight: float
    normalizer: str
    scope: str
    seed: int
    r_g: float | None = None
    """Generation ratio of the dataset; None until it is measured."""
    folder: str
    """The cell's folder below the runs folder."""
    payload: str
    """Canonical JSON of the whole identity."""
    created: float
    """Seconds since 1970 (UTC)."""
    recipe: str
    """Name of the recipe."""
    weighting: str = ""
    """What the loss does beyond the two weights, normalizer and scope, as ``dft``; empty for nothing."""

    def place_of(self, name: str) -> tuple[str, ...]:
        """Where a name of ``STANDS_FOR`` stands for one thing: the name, and what the study may set it by."""
        return tuple(getattr(self, field) for field in (name, *WITHIN.get(name, ())))

    def to_dict(self) -> dict[str, Any]:
        """Plain types: the ``cell`` of a record."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRow(StageKey):
    """One stage as it stands: who works on it, or how it ended."""

    kind: str
    fingerprint: str
    status: str
    """``running``, ``done`` or ``failed``."""
    attempts: int
    token: str | None = None
    host: str | None = None
    pid: int | None = None
    process_started: float | None = None
    heartbeat: float | None = None
    started: float | None = None
    finished: float | None = None
    seconds: float | None = None
    error: str | None = None
    traceback: str | None = None
    progress: str | None = None
    """Of a running stage: ``plw.results.stage_state.StageState`` as JSON, with the last heartbeat."""

    @property
    def key(self) -> StageKey:
        """The row's primary key."""
        return StageKey(study=self.study, scale=self.scale, cell=self.cell, name=self.name)

    @property
    def holder(self) -> str:
        """Who works on it, in words."""
        return f"process {self.pid} on {host_name(self.host or '')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveRow:
    """One optimizer step of training. The prompt and completion losses are unweighted means per token, in nats."""

    step: int
    epoch: float | None = None
    loss: float | None = None
    prompt_loss: float | None = None
    completion_loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    tokens: int | None = None
    penalty: float | None = None
    """What a regulariser added to the loss."""
    held_out_prompt_loss: float | None = None
    held_out_completion_loss: float | None = None
    """Unweighted means on the records that were set aside, at the steps where they were measured."""
    seconds: float | None = None
    tokens_per_second: float | None = None
    mfu: float | None = None
    """Share of the device's peak that the step's products reached."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRecord:
    """What the registry keeps of a finished stage's ``record.json``."""

    cell: CellRow
    stage: str
    kind: str
    fingerprint: str
    seconds: float | None = None
    attempts: int
    started: float | None = None
    finished: float | None = None
    scores: tuple[Score, ...]
    curves: tuple[CurveRow, ...]

    @property
    def key(self) -> StageKey:
        """The stage that this record finishes."""
        return StageKey(study=self.cell.study, scale=self.cell.scale, cell=self.cell.cell, name=self.stage)

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        """Read the contents of a ``record.json``; ``where`` names the file in messages. Other fields are ignored.

        Raises:
            UserError: a field is missing, of another type or not finite, or two scores or steps are the same.
        """
        record = _mapping(value, where)
        cell = _build(CellRow, record.get("cell"), f"{where}: cell")
        for name in ("study", "scale"):
            if record.get(name) != getattr(cell, name):
                raise UserError(f"{where}: {name} is {record.get(name)!r}, but its cell says {getattr(cell, name)!r}")
        names = ("stage", "kind", "fingerprint", "seconds", "attempts", "started", "finished")
        scores = tuple(_build(Score, row, f"{where}: scores[{i}]") for i, row in _rows(record, "scores", where))
        curves = tuple(_build(CurveRow, row, f"{where}: curves[{i}]") for i, row in _rows(record, "curves", where))
        _all_different([(s.suite, s.benchmark, s.metric, s.judge or "") for s in scores], f"{where}: scores")
        _all_different([row.step for row in curves], f"{where}: curves")
        checked = {name: _field(cls, name, record, where) for name in names}
        return cls(cell=cell, scores=scores, curves=curves, **checked)


def _build(kind: type[Row], value: Any, where: str) -> Row:
    row = _mapping(value, where)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(row.keys() - set(known))
    if unknown:
        raise UserError(f"{where}: unknown field {unknown[0]!r}; known are {', '.join(known)}")
    return kind(**{name: _field(kind, name, row, where) for name in known})


def _field(kind: type, name: str, row: Mapping[str, Any], where: str) -> Any:
    """The value of one field, checked against the annotation; an absent one with a default, or optional, has that."""
    hint = _hints(kind)[name]
    options = get_args(hint) or (hint,)
    value = row.get(name)
    if value is None:
        if type(None) in options:
            return None
        default = next(field.default for field in fields(kind) if field.name == name)
        if name not in row and default is not MISSING:
            return default
        raise UserError(f"{where}: {name} is missing")
    if float in options and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UserError(f"{where}: {name} is {value}, which is not a finite number")
        return float(value)
    if type(value) not in options:
        allowed = " or ".join(option.__name__ for option in options if option is not type(None))
        raise UserError(f"{where}: {name} is {shortened(str(value), 60)!r} ({type(value).__name__}), not {allowed}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"{where}: {name} is outside what a database's integer holds, -2^63 to 2^63-1")
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _rows(record: Mapping[str, Any], name: str, where: str) -> list[tuple[int, Any]]:
    rows = record.get(name, [])
    if not isinstance(rows, list):
        raise UserError(f"{where}: {name} is a {type(rows).__name__}, not a list")
    return list(enumerate(rows))


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: found {type(value).__name__}, not an object")
    return value


def _all_different(keys: list[Any], where: str) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise UserError(f"{where}: {key!r} stands there twice")
        seen.add(key)
