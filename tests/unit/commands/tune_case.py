"""Data, a suite and quick words for the tests of `plw tune` and of the adaptive sweeper."""

from pathlib import Path

RECORDS = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}, and no more."} for n in range(40)]
QUESTIONS = [{"goal": f"Say {n}.", "sol1": f"It is {n}.", "sol2": "No.", "label": n % 2} for n in range(8)]
SUITE = """
name: quiz
builtin_tasks: false
tasks:
  piqa: {{task: world_piqa, group: multiple_choice, metric: acc_norm, files: {{test: {folder}/questions.jsonl}}}}
bootstrap_iterations: 10
"""
WORDS = ("recipe=mini", "recipe.epochs=1", "tracker=none", "suite.decoding.max_new_tokens=8", "execution.workers=1")


def registry(place: Path) -> list[str]:
    return [f"registry.url=sqlite:///{place}/registry.sqlite"]


def records(place: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in (place / "runs").rglob("record.json")}
