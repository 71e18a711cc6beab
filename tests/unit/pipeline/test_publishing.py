"""Finished work copied elsewhere: whole or not at all, the record last, never at a cell's cost, and told beforehand."""

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from plw.cli import app
from plw.commands.choice import chosen_cell
from plw.config import CellConfig
from plw.errors import UserError
from plw.files.remote_folder import RemoteFolder
from plw.paths import PAYLOAD, RECORD
from plw.pipeline import resolve_cell
from plw.pipeline.publishing import (
    STAGE_FILES,
    check_publish,
    publish_missing,
    publish_report,
    publish_stage,
)
from plw.pipeline.stage import StageResult
from plw.pipeline.stage_functions import STAGE_FUNCTIONS
from plw.registry import rebuild
from plw.results.items import ITEMS, ItemRow, write_items
from plw.sweep.grid import run_grid
from tests.unit.pipeline.conftest import OwnStudy

SCREEN = Console(quiet=True)
STAGE = "plw-mini/short/wide/p0.1-r1-s1-abcdef01/harness-world"


@pytest.fixture(scope="module")
def composed() -> CellConfig:
    return chosen_cell(["study=plw", "scale=mini"])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of a real server that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'plw[publish]'")
    server_module = pytest.importorskip("moto.server", reason="moto's server is not installed")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="results")
        yield "s3://results"
    server.stop()


@pytest.fixture(params=["file", "memory", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of each kind."""
    name = uuid.uuid4().hex
    if request.param == "file":
        return f"file://{tmp_path}/copy"
    return f"memory://{name}" if request.param == "memory" else f"{request.getfixturevalue('s3')}/{name}"


@pytest.fixture
def config(composed: CellConfig, tmp_path: Path) -> CellConfig:
    return replace(composed, execution=replace(composed.execution, runs=str(tmp_path / "runs")))


def to(config: CellConfig, address: str) -> CellConfig:
    return replace(config, execution=replace(config.execution, publish=address))


def make_stage(config: CellConfig, record: str = "first") -> Path:
    """A stage as it stands when it is finished."""
    folder = Path(config.execution.runs) / STAGE
    folder.mkdir(parents=True, exist_ok=True)
    for name in STAGE_FILES:
        (folder / name).write_text(f"{name} of {record}")
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "weights").write_text("large")
    return folder


def contents(address: str) -> dict[str, str]:
    """Name -> text of everything at an address."""
    fs, root = fsspec.url_to_fs(address)
    fs.invalidate_cache()
    return {path.removeprefix(f"{root}/"): fs.cat_file(path).decode() for path in fs.find(root)}


def test_what_is_missing_is_copied_and_nothing_twice(config: CellConfig, address: str) -> None:
    config = to(config, address)
    folder = make_stage(config)
    check_publish(config)
    assert contents(address) == {}, "the check leaves nothing"
    first = publish_missing(config, [folder, folder.parent / "not-begun"])
    assert (first.copied, first.present, first.failed) == (3, 0, {})
    assert contents(address) == {f"{STAGE}/{name}": f"{name} of first" for name in STAGE_FILES}
    again = publish_missing(config, [folder])
    assert (again.copied, again.present) == (0, 3)
    # A stage that was done again has another record, perhaps of the same size.
    make_stage(config, "after")
    assert publish_missing(config, [folder]).copied == 3
    fs, root = fsspec.url_to_fs(address)
    fs.rm_file(f"{root}/{STAGE}/{ITEMS}")
    assert publish_missing(config, [folder]).copied == 1
    assert contents(address) == {f"{STAGE}/{name}": f"{name} of after" for name in STAGE_FILES}


def test_a_reader_sees_a_whole_file_whenever_it_looks(address: str) -> None:
    remote = RemoteFolder(address, "execution.publish")
    texts = {b"a" * 40_000, b"b" * 70_000}
    remote.put_bytes(min(texts), "record")
    seen: set[bytes] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.update(dict(remote.read(["record"])).values())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(25):
        for text in sorted(texts):
            remote.put_bytes(text, "record")
    over.set()
    reader.join()
    assert seen
    assert seen <= texts
    assert list(remote.sizes("")) == ["record"]


def test_a_stage_is_copied_when_it_ends(own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    config = own_study(f"execution.publish=file://{copy}", "execution.workers=1")
    cell = resolve_cell(config)
    at_its_beginning: list[list[str]] = []

    def generates(*_: Any) -> StageResult:
        at_its_beginning.append(sorted(path.name for path in copy.rglob("*.*")))
        item = ItemRow(benchmark="b", task="t", item=0, item_hash="h", metric="m", value=1.0)
        write_items(cell.stages["generate"].folder / ITEMS, [item])
        return StageResult()

    monkeypatch.setitem(STAGE_FUNCTIONS, "train", lambda *_: StageResult())
    monkeypatch.setitem(STAGE_FUNCTIONS, "generate", generates)
    result = run_grid([config], SCREEN)
    assert not result.unpublished
    assert at_its_beginning == [[PAYLOAD, RECORD]]
    runs = Path(config.execution.runs)
    copied = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    assert copied == {path.relative_to(runs) for stage in cell.stages.values() for path in stage.folder.glob("*.*")}
    assert all((copy / name).read_bytes() == (runs / name).read_bytes() for name in copied)
    assert rebuild(f"sqlite:///{tmp_path}/other.sqlite", copy).records == 2, "a registry can be made of a copy"


def test_no_cell_fails_for_an_address_that_is_gone_and_the_end_tries_again(
    own_study: OwnStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "copy"
    config = own_study(f"execution.publish=file://{copy}", "execution.workers=1")
    in_the_way = copy / config.runs_name

    def trains(*_: Any) -> StageResult:
        in_the_way.write_text("a file where a folder should be")
        return StageResult()

    def generates(*_: Any) -> StageResult:
        in_the_way.unlink()
        return StageResult()

    monkeypatch.setitem(STAGE_FUNCTIONS, "train", trains)
    monkeypatch.setitem(STAGE_FUNCTIONS, "generate", generates)
    result = run_grid([config], SCREEN)
    assert {stage.status for stage in result.outcomes[0].stages.values()} == {"done"}
    warned = [line for line in caplog.messages if "is not published" in line]
    assert len(warned) == 1, "one failure is enough to let the address alone for a while"
    assert not result.unpublished
    assert len(list(copy.rglob(RECORD))) == 2


def test_what_cannot_be_copied_is_named_with_the_reason(config: CellConfig, tmp_path: Path) -> None:
    config = to(config, f"file://{tmp_path}/copy")
    folder = make_stage(config)
    check_publish(config)
    (tmp_path / "copy" / "plw-mini").write_text("")
    found = publish_missing(config, [folder])
    ((name, reason),) = found.failed.items()
    assert name == f"{STAGE}/{STAGE_FILES[0]}", "nothing is copied after the first that failed"
    assert "plw-mini" in reason
    assert not publish_stage(config, folder)
    (tmp_path / "copy" / "plw-mini").unlink()
    here = ["study=plw", "scale=mini", f"execution.runs={tmp_path}/runs", f"execution.publish=file://{tmp_path}/copy"]
    done = CliRunner().invoke(app, ["publish", *here], catch_exceptions=False)
    assert done.exit_code == 0
    assert "3 files copied, 0 there already" in done.output


def test_a_reports_page_comes_after_what_it_shows(config: CellConfig, tmp_path: Path) -> None:
    config = to(config, f"file://{tmp_path}/copy")
    report = tmp_path / "runs" / "plw-mini" / "report"
    (report / "figures").mkdir(parents=True)
    for name in ("index.html", "table.csv", "figures/1.png"):
        (report / name).write_text(name)
    home = tmp_path / "copy" / "plw-mini" / "report"
    home.mkdir(parents=True)
    (home / "figures").write_text("in the way")
    assert len(publish_report(config, report).failed) == 1
    assert not (home / "index.html").exists()
    (home / "figures").unlink()
    assert publish_report(config, report).copied == 3
    assert (home / "figures" / "1.png").read_text() == "figures/1.png"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nosuch://here/there", "Protocol not known"),
        ("gs://bucket/there", "needs the package gcsfs, which is not installed: pip install gcsfs"),
        ("file:///dev/null/there", "cannot be written: NotADirectoryError"),
        ("sftp://me:word@host/there", "the address holds a password"),
        ("RUNS", "is the folder of the results itself"),
    ],
)
def test_an_address_that_cannot_be_written_is_told_first(config: CellConfig, address: str, says: str) -> None:
    config = to(config, address.replace("RUNS", config.execution.runs))
    with pytest.raises(UserError, match=says) as caught:
        check_publish(config)
    assert str(caught.value).startswith("execution.publish")
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_told_without_the_key(config: CellConfig, s3: str) -> None:
    with pytest.raises(UserError, match=r"^execution\.publish=s3://nobody/x cannot be written: ") as caught:
        check_publish(to(config, "s3://nobody/x"))
    assert "-of-the-test" not in str(caught.value)


def test_no_cell_begins_where_the_address_cannot_be_written(own_study: OwnStudy) -> None:
    config = own_study("execution.publish=file:///dev/null/there")
    with pytest.raises(UserError, match="cannot be written"):
        run_grid([config], SCREEN)
    assert not resolve_cell(config).folder.exists()
