"""Registries as older plws made them come to this schema with their rows: all or nothing, once, none while in use."""

import logging
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, select, text

from plw.errors import UserError
from plw.registry import migrate as migrate_module
from plw.registry.database import migrate_registry
from plw.registry.schema import SCHEMA_VERSION, meta, metadata
from plw.registry.store import Registry

ASSETS = Path(__file__).parents[2] / "assets" / "registry"
OLDER = {"schema-1-first": 1, "schema-1-columns": 1, "schema-2": 2, "schema-3": 3}
"""File of tables that an older plw's own code made -> their schema version."""
ROWS = """
INSERT INTO cells (study, scale, cell, dataset, model, prompt_weight, response_weight, normalizer, scope, seed,
 folder, payload, created{extra}) VALUES
 ('plw', 'mini', 'aa', 'short', 'wide', 0.1, 1.0, 'nonzero', 'batch', 42, 'short/wide/p0.1', '{{}}', 1000.5{value});
INSERT INTO stages (study, scale, cell, name, kind, fingerprint, status, attempts) VALUES
 ('plw', 'mini', 'aa', 'train', 'train', 'f', 'done', 2), ('plw', 'mini', 'aa', 'harness', 'harness', 'g', 'failed', 3);
INSERT INTO scores (study, scale, cell, suite, benchmark, metric, judge, value, headline, stage) VALUES
 ('plw', 'mini', 'aa', 'world', 'arc', 'acc', '', 0.3333333333333333, TRUE, 'train');
INSERT INTO curves (study, scale, cell, step, loss) VALUES ('plw', 'mini', 'aa', 1, 2.5);
"""


def make_older(url: str, name: str) -> None:
    """A registry as an older plw made it, with a cell of two stages."""
    tables = (ASSETS / f"{name}.sql").read_text()
    extra = {
        "schema-1-first": ("", ""),
        "schema-1-columns": (", recipe", ", NULL"),
        "schema-2": (", recipe", ", 'plain'"),
        "schema-3": (", recipe, weighting", ", 'plain', ''"),
    }
    engine = create_engine(url)
    if engine.dialect.name == "postgresql":
        tables = tables.replace("DOUBLE", "DOUBLE PRECISION")
    else:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        words = dict(zip(("extra", "value"), extra[name], strict=True))
        for statement in (tables + ROWS.format(**words)).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()


def differences(url: str) -> list[object]:
    """What alembic's comparison finds between a database and the tables that the code declares."""
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = compare_metadata(context, metadata)
        constraints = {
            (
                table.name,
                "stages_status" in {check["name"] for check in inspect(connection).get_check_constraints("stages")},
            )
            for table in metadata.sorted_tables
            if table.name == "stages"
        }
        assert constraints == {("stages", True)}
    engine.dispose()
    return found


def version(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(select(meta.c.schema_version)).scalar_one()
    engine.dispose()
    return int(found)


@pytest.mark.parametrize("name", OLDER)
def test_an_older_registry_comes_to_this_schema_with_its_rows(url, name, make_cell, make_record):
    make_older(url, name)
    assert differences(url)
    found, copy = migrate_registry(url)
    assert (found, version(url)) == (OLDER[name], SCHEMA_VERSION)
    assert differences(url) == []
    with Registry.open(url) as registry:
        (cell,) = registry.cells()
        assert (cell.cell, cell.recipe, cell.weighting, cell.created) == (
            "aa",
            "plain" if OLDER[name] >= 2 else "",
            "",
            1000.5,
        )
        assert [(row.name, row.status, row.attempts) for row in registry.stage_rows()] == [
            ("harness", "failed", 3),
            ("train", "done", 2),
        ]
        assert registry.scores_frame()["value"].tolist() == [1 / 3]
        assert registry.curves_frame()["loss"].tolist() == [2.5]
        registry.import_record(make_record(make_cell()))
        assert len(registry.scores_frame()) == 3
    assert migrate_registry(url) == (SCHEMA_VERSION, None)
    assert (copy is not None) == url.startswith("sqlite")
    if copy is not None:
        assert copy.read_bytes()[18:20] == b"\x01\x01", "one file, with no log beside it"
        assert version(f"sqlite:///{copy}") == OLDER[name]
        assert [path.name for path in copy.parent.iterdir() if copy.name in path.name] == [copy.name]


def test_a_new_registry_has_the_schema_of_the_last_revision(url):
    Registry.open(url).close()
    assert differences(url) == []
    scripts = ScriptDirectory.from_config(_config())
    assert [script.revision for script in scripts.walk_revisions()] == [str(n) for n in range(SCHEMA_VERSION, 0, -1)]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate_module.__file__).parent / "migrations"))
    return config


def test_the_first_revision_makes_what_the_first_plw_made(url, tmp_path):
    """Both, brought to this schema, are the same; so no older plw is needed to read the steps."""
    from alembic import command

    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
    assert differences(url) == []


def test_a_servers_registry_is_not_changed_by_opening_it_and_a_file_is(url, caplog):
    make_older(url, "schema-2")
    if url.startswith("postgresql"):
        with pytest.raises(
            UserError, match=rf"schema version 2, this plw works with {SCHEMA_VERSION}; `plw registry migrate`"
        ) as caught:
            Registry.open(url)
        assert "\n" not in str(caught.value)
        assert version(url) == 2
        return
    taken = make_url(url).database + ".schema-2"
    Path(taken).write_text("somebody's")
    with caplog.at_level(logging.WARNING), Registry.open(url, create=False) as registry:
        assert len(registry.cells()) == 1
        with registry.transaction() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert Path(taken).read_text() == "somebody's"
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        f"registry of schema version 2 brought to version {SCHEMA_VERSION}; a copy of the old one is "
        "registry.sqlite.schema-2.2" in line
    )


def test_alembics_own_table_decides_nothing(url):
    make_older(url, "schema-2")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('of another program')")
    engine.dispose()
    assert migrate_registry(url)[0] == 2
    assert version(url) == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("done", "said"),
    [
        ("DELETE FROM meta", "registry of schema version unknown, this plw reads"),
        ("INSERT INTO meta VALUES (1)", "registry of schema version unknown, this plw reads"),
        ("ALTER TABLE meta RENAME COLUMN schema_version TO v", "holds tables that are no registry of plw"),
    ],
)
def test_a_registry_without_one_version_is_refused(url, done, said):
    with Registry.open(url) as registry, registry.transaction() as connection:
        connection.exec_driver_sql(done)
    with pytest.raises(UserError, match=said):
        Registry.open(url)


def test_a_newer_registry_is_refused_and_untouched(url):
    with Registry.open(url) as registry, registry.transaction() as connection:
        connection.execute(meta.update().values(schema_version=SCHEMA_VERSION + 1))
    for use in (Registry.open, migrate_registry):
        with pytest.raises(UserError, match=f"schema version {SCHEMA_VERSION + 1}, this plw reads") as caught:
            use(url)
        assert "\n" not in str(caught.value)
    assert version(url) == SCHEMA_VERSION + 1


def test_a_worker_at_work_holds_a_migration_up(url):
    make_older(url, "schema-2")
    engine = create_engine(url)
    with engine.begin() as connection:
        held = (
            "UPDATE stages SET status = 'running', host = 'elsewhere', pid = 1, heartbeat = :now WHERE name = 'train'"
        )
        connection.execute(text(held), {"now": time.time()})
    with pytest.raises(UserError, match="1 stage being worked on, first plw-mini aa train by process 1 on elsewhere"):
        migrate_registry(url)
    assert version(url) == 2
    with engine.begin() as connection:
        connection.execute(text("UPDATE stages SET heartbeat = :then WHERE name = 'train'"), {"then": time.time() - 61})
    engine.dispose()
    assert migrate_registry(url)[0] == 2


IN_THE_WAY = {
    "sqlite": ("CREATE TABLE _alembic_tmp_stages (x INTEGER)", "DROP TABLE _alembic_tmp_stages"),
    "postgresql": ("CREATE VIEW tries AS SELECT attempts FROM stages", "DROP VIEW tries"),
}
"""What a person may have put into the database, and what takes it away."""


def test_a_migration_that_fails_changes_nothing(url):
    make_older(url, "schema-1-first")
    engine = create_engine(url)
    put, take = IN_THE_WAY[engine.dialect.name]
    with engine.begin() as connection:
        connection.exec_driver_sql(put)
    before = str(differences(url))
    with pytest.raises(
        UserError, match=rf"cannot be brought from schema version 1 to {SCHEMA_VERSION} \(.*; nothing was changed"
    ) as caught:
        migrate_registry(url)
    assert "\n" not in str(caught.value)
    assert str(differences(url)) == before
    with engine.begin() as connection:
        connection.exec_driver_sql(take)
    engine.dispose()
    assert migrate_registry(url)[0] == 1


OPENER = """
import logging, os, sys, time
from plw.registry.database import migrate_registry
from plw.registry.store import Registry
logging.basicConfig(level="WARNING")
url, go = sys.argv[1:]
print("ready", flush=True)
while not os.path.exists(go):
    time.sleep(0.002)
if url.startswith("postgresql"):
    migrate_registry(url)
with Registry.open(url) as registry:
    assert len(registry.cells()) == 1
"""


def test_processes_that_open_an_older_registry_at_once_migrate_it_once(url, tmp_path):
    make_older(url, "schema-1-first")
    words = [sys.executable, "-c", OPENER, url, str(tmp_path / "go")]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, said
    assert sum("brought to version" in text for text in said) == 1
    assert differences(url) == []


def test_a_file_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    from plw.registry import database

    url = f"sqlite:///{tmp_path}/registry.sqlite"
    make_older(url, "schema-2")
    monkeypatch.setattr(database, "is_read_only", lambda path: True)
    for use in (Registry.open, migrate_registry):
        with pytest.raises(UserError, match=r"cannot (write there|be written); copy the file to where it can be"):
            use(url)
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        assert connection.execute("SELECT schema_version FROM meta").fetchone() == (2,)
