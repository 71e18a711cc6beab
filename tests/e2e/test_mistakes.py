"""A user's mistake is one clear line and exit code 2, before anything is loaded, and leaves nothing half made."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch

from tests.e2e.conftest import Study

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


def refuses(study: Study, *arguments: str) -> str:
    """The one line that the command says."""
    done = study.call("run", *arguments, code=2)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("plw: ")
    assert not list(study.runs.rglob("payload.json"))
    return lines[0]


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
def test_config(study: Study, override: str, words: list[str]) -> None:
    line = refuses(study, override)
    assert all(word in line for word in words), line


def test_a_whole_grid_is_checked_before_its_first_cell(study: Study) -> None:
    assert "loss.prompt_weight=2" in refuses(study, "-m", "loss.prompt_weight=0,0.5,2")
    assert "no axes for scale=own" in refuses(study, "-m", "study=plw", "scale=own")


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
    study: Study, launcher: tuple[str, ...], words: list[str]
) -> None:
    line = refuses(study, "-m", *launcher)
    assert all(word in line for word in words), line
    assert study.call("plan", *launcher, code=2).stderr.strip() == line


@pytest.mark.parametrize("launcher", [(SLURM, "hydra.launcher.sbatch.time=5"), ("hydra/launcher=basic",)])
def test_a_plan_takes_the_words_of_a_run_on_any_launcher(
    study: Study, tiny_llama: Path, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    words = own(tiny_llama, data_file(tmp_path, GOOD))
    assert "own-own: 1 cell" in study.call("plan", *words, "stages=[train]", *launcher).stdout
    assert not study.runs.exists()


def test_missing_dataset_file(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    assert "no such file" in refuses(study, *own(tiny_llama, tmp_path / "absent.json"))


def test_malformed_json_names_the_row(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([*(json.dumps(row) for row in GOOD[:2]), '{"instruction": "x', json.dumps(GOOD[3])]))
    line = refuses(study, *own(tiny_llama, path))
    assert "data.jsonl: row 3" in line
    assert "JSON" in line


def test_a_record_without_output_names_row_and_field(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    path = data_file(tmp_path, [*GOOD[:4], {"instruction": "x"}])
    line = refuses(study, *own(tiny_llama, path))
    assert "row 5" in line
    assert "'output'" in line


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_a_benchmarks_file_is_read_before_the_first_cell(
    study: Study, tiny_llama: Path, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    path = tmp_path / "piqa.jsonl"
    path.write_text(json.dumps({"goal": "a", "sol1": "b", "sol2": "c", "label": 0}) + "\n{\n")
    data = own(tiny_llama, data_file(tmp_path, GOOD))
    line = refuses(study, *mode, *data, f"+suite.tasks.piqa.files.validation={path}")
    assert f"{path}: row 2 is not valid JSON" in line


@pytest.mark.slow
def test_unknown_benchmark(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    line = refuses(study, *own(tiny_llama, data_file(tmp_path, GOOD)), "suite.tasks.piqa.task=pikka")
    assert "suite.tasks.piqa.task=pikka" in line
    assert "piqa" in line.split(";")[-1]


def test_model_folder_that_is_none(study: Study, tmp_path: Path) -> None:
    assert "no config.json" in refuses(study, *own(tmp_path, data_file(tmp_path, GOOD)))


@pytest.mark.parametrize("command", [("run",), ("run", "-m"), ("plan",)], ids=" ".join)
def test_a_damaged_model_folder_is_one_line(
    command: tuple[str, ...], study: Study, tiny_llama: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = study.call(*command, *own(folder, data_file(tmp_path, GOOD)), code=2)
    (line,) = done.stderr.strip().splitlines()
    assert f"model.path={folder}: model.safetensors is cut" in line
    assert line.endswith("fetch it again")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    line = refuses(study, *own(tiny_llama, data_file(tmp_path, GOOD)), "execution.device=cuda")
    assert "execution.device=cuda" in line
    assert "allowed here: cpu" in line


@pytest.mark.parametrize("mode", [(), ("-m",)])
def test_runs_folder_that_cannot_be_written(tmp_path: Path, cache: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    line = refuses(Study(runs=tmp_path / "file" / "runs", cache=cache), *mode, "loss.prompt_weight=0.1")
    assert "execution.runs" in line
    assert "cannot be written" in line


def test_registry_of_another_schema_version(study: Study, tiny_llama: Path, tmp_path: Path) -> None:
    from plw.registry import Registry

    database = tmp_path / "old.sqlite"
    Registry.open(f"sqlite:///{database}").close()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    line = refuses(study, *own(tiny_llama, data_file(tmp_path, GOOD)), f"registry.url=sqlite:///{database}")
    assert "schema version 99" in line
    assert "rebuild" in line


@pytest.mark.parametrize("command", [("status",), ("report",), ("registry", "export")])
def test_no_registry_yet(study: Study, command: tuple[str, ...]) -> None:
    done = study.call(*command, code=2)
    assert "no registry there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [(), ("run",), ("plan",), ("status",), ("report",), ("registry", "rebuild")])
def test_help_answers(study: Study, command: tuple[str, ...]) -> None:
    import subprocess

    done = subprocess.run([study.command()[0], *command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5


def test_a_model_that_only_the_hub_has_is_missed_before_anything_is_run(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    path = tmp_path / "data.json"
    path.write_text(json.dumps(GOOD))
    line = refuses(study, *own(Path("nobody/nothing"), path))
    assert "model.path=nobody/nothing: not in the hub's cache" in line
    assert "hf download nobody/nothing" in line
