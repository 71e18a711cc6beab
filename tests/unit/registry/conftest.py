"""Registries on real databases: a SQLite file always, a PostgreSQL server where it is installed."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plw.files.products import note_products
from plw.files.writing import write_json_atomic
from plw.registry.owner import Owner
from plw.registry.rows import CellRow, StageKey
from plw.registry.store import Registry
from plw.results.score import Score
from plw.testing.postgres import NotInstalledError, Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server with an empty database."""
    try:
        with postgres("registry") as server:
            yield server
    except NotInstalledError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def server_url(postgres_server: Postgres) -> str:
    """Address of a schema of the server, without tables."""
    from sqlalchemy import create_engine

    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(postgres_server.url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    engine.dispose()
    return f"{postgres_server.url}?options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/below/registry.sqlite"
    return str(request.getfixturevalue("server_url"))


@pytest.fixture
def make_cell() -> Callable[..., CellRow]:
    """Cells that differ in their weight."""

    def make(weight: float = 0.1, **fields: Any) -> CellRow:
        return CellRow(**{
            "study": "plw", "scale": "mini", "cell": f"{round(weight * 1e6):064x}", "dataset": "short", "model": "wide",
            "prompt_weight": weight, "response_weight": 1.0, "normalizer": "nonzero", "scope": "batch", "seed": 42,
            "r_g": 0.082, "folder": f"plw-mini/short/wide/p{weight}", "payload": "{}", "created": 1000.0,
            "recipe": "plain", **fields,
        })  # fmt: skip

    return make


@pytest.fixture
def make_record() -> Callable[..., dict[str, Any]]:
    """Records as a finished stage leaves them: two scores, and three steps of training where the stage trains."""

    def make(cell: CellRow, name: str = "train", **fields: Any) -> dict[str, Any]:
        suite = f"suite-{name}"
        scores = [
            Score(suite=suite, benchmark="arc", metric="acc_norm", value=1 / 3, stderr=0.02, n=100, headline=True),
            Score(suite=suite, benchmark="alpaca_eval", metric="win_rate", value=40.0, judge="world", judge_version="1",
                  higher_is_better=True, task_version="2", library_version="0.6.6"),
        ]  # fmt: skip
        steps = [{"step": step, "epoch": step / 3, "loss": 2.0 / step, "tokens": 100} for step in (1, 2, 3)]
        return {
            "study": cell.study, "scale": cell.scale, "cell": cell.to_dict(), "stage": name, "kind": name,
            "fingerprint": f"f-{name}", "payload": {}, "seconds": 1.5, "attempts": 1, "started": 10.0, "finished": 11.5,
            "scores": [score.to_dict() for score in scores], "curves": steps if name == "train" else [],
            "versions": {"torch": "2.13.0"}, **fields,
        }  # fmt: skip

    return make


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A runs folder that is not there yet."""
    return tmp_path / "runs"


@pytest.fixture
def make_finished(make_record: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Finishes stages of a cell as the pipeline does: files, record and rows."""

    def make(
        registry: Registry, runs: Path, cell: CellRow, *, names: tuple[str, ...] = ("train", "harness"),
        content: str = "same", log: str = "",
    ) -> None:  # fmt: skip
        registry.ensure_cell(cell)
        for name in names:
            folder = runs / cell.folder / name
            folder.mkdir(parents=True)
            (folder / "items.parquet").write_text(f"{name} {cell.prompt_weight} {content}")
            (folder / "log.jsonl").write_text(log)
            record = make_record(cell, name) | {"products": note_products(folder)}
            (folder / "payload.json").write_text("{}")
            key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name=name)
            owner = Owner.here()
            registry.claim(key, kind=name, fingerprint=f"f-{name}", owner=owner, lease_timeout_s=60)
            write_json_atomic(folder / "record.json", record)
            assert registry.finish(key, owner.token, record)

    return make


@pytest.fixture
def study(url: str, runs: Path, make_cell: Callable[..., CellRow], make_finished: Callable[..., None]) -> str:
    """Address of a registry with three finished cells of two stages, whose files and records are in ``runs``."""
    with Registry.open(url) as registry:
        for weight in (0.0, 0.1, 1.0):
            make_finished(registry, runs, make_cell(weight))
    return url
