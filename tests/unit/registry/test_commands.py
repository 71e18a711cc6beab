"""`plw registry gc`, `merge`, `migrate` and `verify` as a person calls them: what they say, ask and change."""

from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from plw.cli import app
from plw.errors import StorageError, UserError
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.schema import SCHEMA_VERSION
from plw.registry.store import Registry
from tests.small_disk import CannotMountError, fill, small_disk
from tests.unit.registry.test_migrate import make_older


@pytest.fixture
def url(tmp_path) -> str:
    """The functions below the commands are tested on both kinds of database."""
    return f"sqlite:///{tmp_path}/registry.sqlite"


@pytest.fixture
def call(url, runs):
    """A command on the registry and the runs folder; ``answer`` is typed where it asks."""

    def run(*words: str | Path, answer: str = "") -> Result:
        here = ("study=plw", "scale=mini", f"registry.url={url}", f"execution.runs={runs}")
        done = CliRunner().invoke(app, ["registry", *map(str, words), *here], input=answer, catch_exceptions=False)
        assert "Traceback" not in done.output
        return done

    return run


@pytest.fixture
def failed(study, runs, make_cell) -> Path:
    """The folder of a judging that failed."""
    cell, owner = make_cell(0.1), Owner(host="elsewhere", pid=1)
    key = StageKey(study=cell.study, scale=cell.scale, cell=cell.cell, name="judge")
    folder = runs / cell.folder / "judge"
    folder.mkdir()
    (folder / "payload.json").write_text("{}")
    (folder / "failure.json").write_text("{}")
    (folder / "answers.jsonl").write_bytes(b"x" * 1_500_000)
    with Registry.open(study) as registry:
        registry.claim(key, kind="judge", fingerprint="f", owner=owner, lease_timeout_s=60)
        assert registry.fail(key, owner.token, "no answer", "")
    return folder


def test_gc_lists_and_asks_before_it_removes(call, failed):
    listed = call("gc", "--dry-run")
    assert listed.exit_code == 0
    assert "p0.1/judge (1.5 MB)" in listed.output
    assert "1 thing that no record names, 1.5 MB" in listed.output
    refused = call("gc", answer="n\n")
    assert refused.exit_code == 1
    assert "Remove? [y/N]" in refused.output
    assert failed.is_dir()
    taken = call("gc", answer="y\n")
    assert taken.exit_code == 0
    assert "1 thing removed, 1.5 MB" in taken.output
    assert not failed.exists()
    assert call("gc").output.strip() == "0 things that no record names, 0.0 MB"


def test_gc_with_yes_does_not_ask(call, failed):
    done = call("gc", "--yes")
    assert (done.exit_code, "Remove?" in done.output, failed.exists()) == (0, False, False)


def test_gc_without_an_answer_removes_nothing(call, failed):
    """As in a script that forgot --yes: the command's own ending tells it, not Typer's."""
    with pytest.raises(UserError, match=r"nothing was removed.*--yes"):
        call("gc")
    assert failed.is_dir()


def test_verify_names_the_file_that_changed(call, study, runs, make_cell):
    assert call("verify").exit_code == 0
    file = runs / make_cell(0.1).folder / "train" / "items.parquet"
    file.write_text("other")
    done = call("verify")
    assert done.exit_code == 1
    assert str(file) in "".join(done.output.split())
    assert "1 problem" in done.output


def test_merge_takes_what_is_lacking_and_tells_what_differs(call, study, tmp_path, make_cell, make_finished):
    other = tmp_path / "other"
    with Registry.open(f"sqlite:///{other}/registry.sqlite") as registry:
        make_finished(registry, other, make_cell(0.5))
    assert f"2 stages taken from {other}, 0 the same in both" in " ".join(call("merge", other).output.split())
    assert f"0 stages taken from {other}, 2 the same in both" in " ".join(call("merge", other).output.split())
    with Registry.open(f"sqlite:///{other}/registry.sqlite") as registry:
        make_finished(registry, other, make_cell(1.0), content="another")
    done = call("merge", other)
    assert done.exit_code == 1
    assert "left out: " in done.output
    assert make_cell(1.0).folder in "".join(done.output.split())


def test_migrate_says_what_it_did(call, url, runs):
    make_older(url, "schema-2")
    runs.mkdir()
    assert call("migrate").exit_code == 0
    assert f"schema version {SCHEMA_VERSION}, as this plw works with" in " ".join(call("migrate").output.split())
    with Registry.open(url, create=False) as registry:
        assert [row.attempts for row in registry.stage_rows()] == [3, 2]


@pytest.mark.parametrize("command", [("registry", "export", "--out"), ("items", "export", "--out")])
def test_a_study_that_is_not_there_is_told_with_those_that_are(study, runs, tmp_path, make_cell, command):
    """A table of no rows said nothing."""
    out, cell = tmp_path / "table.csv", make_cell(0.1)
    words = [*command, str(out), f"registry.url={study}", f"execution.runs={runs}", "study=wit", "scale=mini"]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert "no cell of study=wit scale=mini" in str(caught.value)
    assert f"it holds study={cell.study} scale={cell.scale}" in str(caught.value)
    assert not out.exists()


def test_an_export_to_a_full_disk_names_the_place(call, study, tmp_path):
    try:
        with small_disk(tmp_path / "disk", "1m") as disk:
            fill(disk)
            with pytest.raises(StorageError, match=f"^--out {disk}/scores.csv: No space left on device; free space"):
                call("export", "--out", f"{disk}/scores.csv")
            assert [path.name for path in disk.iterdir()] == ["filler"]
    except CannotMountError as reason:
        pytest.skip(str(reason))


def test_an_export_is_csv_and_says_where_nothing_is_scored(call, url, make_cell, tmp_path, caplog):
    with Registry.open(url) as registry:
        registry.ensure_cell(make_cell(0.1))
    with pytest.raises(UserError, match=r"--out .*scores\.xlsx: allowed are names that end in \.csv"):
        call("export", "--out", tmp_path / "scores.xlsx")
    assert not (tmp_path / "scores.xlsx").exists()
    assert call("export", "--out", tmp_path / "scores.csv").exit_code == 0
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1
    assert "no stage of the study has scored yet" in caplog.text


def test_a_registry_that_is_a_folder_is_called_one(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} is a folder; give a file in it"):
        CliRunner().invoke(app, ["status", f"registry.url=sqlite:///{tmp_path}"], catch_exceptions=False)
