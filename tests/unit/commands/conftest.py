"""A folder to tune in, and `plw tune` called in it."""

import json
import sys
from pathlib import Path

import pytest

from plw import cli
from tests.unit.commands.tune_case import QUESTIONS, RECORDS, SUITE, WORDS, registry


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with data and a suite."""
    (tmp_path / "mine.json").write_text(json.dumps(RECORDS))
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    (tmp_path / "conf/suite").mkdir(parents=True)
    (tmp_path / "conf/suite/quiz.yaml").write_text(SUITE.format(folder=tmp_path))
    return tmp_path


@pytest.fixture
def tune(place, monkeypatch, capsys, tiny_llama):
    """Call the command; returns exit code, screen, errors and the numbers."""

    def call(*words: str, model=tiny_llama, data=place / "mine.json", quick=WORDS):
        out = place / "found.json"
        out.unlink(missing_ok=True)
        given = [model, data, *quick, f"execution.runs={place}/runs", *words, *registry(place), "--json", out]
        monkeypatch.setattr(sys, "argv", ["plw", "tune", *map(str, given)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        told = capsys.readouterr()
        return stopped.value.code or 0, told.out, told.err, json.loads(out.read_text()) if out.exists() else None

    return call
