"""The page of the pocket study says what its scores and items say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_the_tables_of_the_page_are_those_of_the_script() -> None:
    command = [sys.executable, "scripts/pocket_findings.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    page = (ROOT / "docs" / "findings-pocket.md").read_text().splitlines()
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []
