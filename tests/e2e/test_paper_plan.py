"""The paper's own scale is composed and planned on a machine that has none of its parts and no network."""

import pytest

from tests.e2e.conftest import Study

pytestmark = pytest.mark.slow

GONE = "offline.invalid"
"""A host that resolves nowhere: planning must not ask it."""


@pytest.mark.parametrize(("study_name", "cells", "scale"), [("plw", 60, "paper"), ("plw-ratio", 100, "smol")])
def test_every_cell_is_planned_without_the_hub(
    study: Study, monkeypatch: pytest.MonkeyPatch, study_name: str, cells: int, scale: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"https://{GONE}")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "180")
    text = study.call("plan", f"study={study_name}", f"scale={scale}").stdout

    assert f"plw-{scale}: {cells} cells; stages: {5 * cells} run" in text
    first = {"paper": "llama-1-7b", "smol": "smollm2-135m"}[scale]
    assert text.count("p0.2463-r1-s42-") == cells // 10
    assert f"model {first}: " in text
    assert "NOT PINNED" not in text
    assert "unknown" not in text
    assert "US dollars" in text
    assert "dataset alpaca-cleaned: https://" in text
    assert not study.runs.exists(), "a plan makes no folder"
