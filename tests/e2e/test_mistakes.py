"""A user's mistake is one clear line and exit code 2, before anything is loaded, and leaves nothing half made."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from plw import cli
from tests.e2e.conftest import Study

Call = Callable[..., tuple[int, str, str]]
Refuses = Callable[..., str]

ONE_BASE = ("model=world-wide-1", "dataset=world-short")
GOOD = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(8)]


def data_file(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "data.json"
    path.write_text(json.dumps(rows))
    return path


def own(model: Path, data: Path) -> tuple[str, ...]:
    """A cell on a local model and a local file."""
    return (
        "study=own", "scale=own", "model=folder", "model.name=tiny", f"model.path={model}",
        "dataset=file", "dataset.name=mine", f"dataset.path={data}", "suite=piqa", "tracker=none",
    )  # fmt: skip


@pytest.fixture
def call(study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call a command on the study in this process, whose imports are done; returns exit code, screen and errors."""

    def run(*words: str, on: Study = study) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", on.command(*words))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        GlobalHydra.instance().clear()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def refuses(call: Call, study: Study) -> Refuses:
    """The one line of ``plw run`` with these words; nothing is made."""

    def run(*words: str, command: str = "run", on: Study = study) -> str:
        code, _, errors = call(command, *words, on=on)
        assert code == 2
        return the_line(errors, on)

    return run


def the_line(errors: str, study: Study) -> str:
    (line,) = errors.strip().splitlines()
    assert line.startswith("plw: ")
    assert not list(study.runs.rglob("payload.json"))
    return line


def test_a_mistake_ends_the_process_with_2_and_a_line(study: Study) -> None:
    """The other tests call the command in this process."""
    line = the_line(study.call("run", "nonsense=1", code=2).stderr, study)
    assert line.startswith("plw: nonsense: no such field")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("nonsense=1", ["nonsense: no such field", "dataset"]),
        ("dataset=nosuch", ["dataset/nosuch", "world-short"]),
        ("dataset=file", ["dataset.name is missing"]),
        ("stages=train", ["stages", "list", "["]),
        ("loss.response_weight=0", ["loss.prompt_weight=0", "no loss"]),
        ("execution.lease_timeout_s=14", ["execution.lease_timeout_s=14", "three times", "heartbeat_s=5"]),
        ("suite.name=a/b", ["suite.name=a/b", "letters"]),
        ("registry.url=nothing", ["registry.url", "sqlite:///FILE"]),
    ],
)
def test_config(refuses: Refuses, override: str, words: list[str]) -> None:
    line = refuses(override)
    assert all(word in line for word in words), line


def test_a_whole_grid_is_checked_before_its_first_cell(refuses: Refuses) -> None:
    assert "loss.prompt_weight=2" in refuses("-m", *ONE_BASE, "loss.prompt_weight=0,2")
    assert "no axes for scale=own" in refuses("-m", "study=plw", "scale=own")


SLURM = "hydra/launcher=slurm"


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        (("hydra/launcher=nosuch",), ["hydra/launcher/nosuch is not there", "local", "slurm"]),
        ((SLURM, "+hydra.launcher.nosuch=1"), ["hydra.launcher.nosuch: no such field; allowed: ", "poll_s"]),
        ((SLURM, "hydra.launcher.nosuch=1"), ["hydra.launcher.nosuch: no such field; allowed: ", "poll_s"]),
        ((SLURM, "hydra.launcher.poll_s=soon"), ["hydra.launcher.poll_s='soon' is no number"]),
    ],
)
def test_a_plan_refuses_the_launcher_that_a_run_refuses(
    refuses: Refuses, launcher: tuple[str, ...], words: list[str]
) -> None:
    line = refuses("-m", *launcher)
    assert all(word in line for word in words), line
    assert refuses(*launcher, command="plan") == line


@pytest.mark.parametrize("launcher", [(SLURM, "hydra.launcher.sbatch.time=5"), ("hydra/launcher=basic",)])
def test_a_plan_takes_the_words_of_a_run_on_any_launcher(
    call: Call, study: Study, tiny_llama: Path, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    words = own(tiny_llama, data_file(tmp_path, GOOD))
    # The hours of a GPU, which is not measured, as this machine's cores are for seconds.
    code, screen, _ = call("plan", *words, "stages=[train]", "execution.cost.device=gpu", *launcher)
    assert code == 0
    assert "own-own: 1 cell" in screen
    assert not study.runs.exists()


def test_missing_dataset_file(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    assert "no such file" in refuses(*own(tiny_llama, tmp_path / "absent.json"))


def test_malformed_json_names_the_row(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([*(json.dumps(row) for row in GOOD[:2]), '{"instruction": "x', json.dumps(GOOD[3])]))
    line = refuses(*own(tiny_llama, path))
    assert "data.jsonl: row 3" in line
    assert "JSON" in line


def test_a_record_without_output_names_row_and_field(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    path = data_file(tmp_path, [*GOOD[:4], {"instruction": "x"}])
    line = refuses(*own(tiny_llama, path))
    assert "row 5" in line
    assert "'output'" in line


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_benchmarks_file_is_read_before_the_first_cell(
    refuses: Refuses, tiny_llama: Path, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    path = tmp_path / "piqa.jsonl"
    path.write_text(json.dumps({"goal": "a", "sol1": "b", "sol2": "c", "label": 0}) + "\n{\n")
    data = own(tiny_llama, data_file(tmp_path, GOOD))
    line = refuses(*mode, *data, f"+suite.tasks.piqa.files.validation={path}")
    assert f"{path}: row 2 is not valid JSON" in line


@pytest.mark.slow
def test_unknown_benchmark(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    line = refuses(*own(tiny_llama, data_file(tmp_path, GOOD)), "suite.tasks.piqa.task=pikka")
    assert "suite.tasks.piqa.task=pikka" in line
    assert "piqa" in line.split(";")[-1]


def test_model_folder_that_is_none(refuses: Refuses, tmp_path: Path) -> None:
    assert "no config.json" in refuses(*own(tmp_path, data_file(tmp_path, GOOD)))


@pytest.mark.parametrize(("command", "mode"), [("run", ()), ("run", ("-m",)), ("plan", ())])
def test_a_damaged_model_folder_is_one_line(
    command: str, mode: tuple[str, ...], refuses: Refuses, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    line = refuses(*mode, *own(folder, data_file(tmp_path, GOOD)), command=command)
    assert f"model.path={folder}: model.safetensors is cut" in line
    assert line.endswith("fetch it again")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    line = refuses(*own(tiny_llama, data_file(tmp_path, GOOD)), "execution.device=cuda")
    assert "execution.device=cuda" in line
    assert "allowed here: cpu" in line


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_runs_folder_that_cannot_be_written(
    refuses: Refuses, tmp_path: Path, cache: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    line = refuses(*mode, *ONE_BASE, on=Study(runs=tmp_path / "file" / "runs", cache=cache))
    assert "execution.runs" in line
    assert "cannot be written" in line


def test_registry_of_another_schema_version(refuses: Refuses, tiny_llama: Path, tmp_path: Path) -> None:
    from plw.registry import Registry

    database = tmp_path / "old.sqlite"
    Registry.open(f"sqlite:///{database}").close()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    line = refuses(*own(tiny_llama, data_file(tmp_path, GOOD)), f"registry.url=sqlite:///{database}")
    assert "schema version 99" in line
    assert "rebuild" in line


@pytest.mark.parametrize("command", [("status",), ("report",), ("registry", "export")])
def test_no_registry_yet(call: Call, study: Study, command: tuple[str, ...]) -> None:
    code, _, errors = call(*command)
    assert code == 2
    assert "no registry there" in the_line(errors, study)


@pytest.mark.parametrize("command", [(), ("run",), ("plan",), ("status",), ("report",), ("registry", "rebuild")])
def test_help_answers(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plw", *command, "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_a_model_that_only_the_hub_has_is_missed_before_anything_is_run(
    refuses: Refuses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    path = tmp_path / "data.json"
    path.write_text(json.dumps(GOOD))
    line = refuses(*own(Path("nobody/nothing"), path))
    assert "model.path=nobody/nothing: not in the hub's cache" in line
    assert "hf download nobody/nothing" in line
