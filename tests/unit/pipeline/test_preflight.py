"""Mistakes in files are told before torch is imported, which takes most of the time to the line."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

from tests.unit.pipeline.conftest import OwnStudy

CHILD = """
import json, pickle, sys
from pathlib import Path
from plw.errors import UserError
from plw.pipeline import check_inputs, resolve_cell

told = []
for config in pickle.loads(Path(sys.argv[1]).read_bytes()):
    try:
        check_inputs([resolve_cell(config)])
    except UserError as error:
        told.append(str(error))
print(json.dumps([told, [name for name in ("torch", "transformers") if name in sys.modules]]))
"""


def test_what_files_and_names_tell_is_told_without_torch(own_study: OwnStudy, tmp_path: Path) -> None:
    question, prompt = {"goal": "Say 1.", "sol1": "1.", "sol2": "No."}, {"instruction": "Say 1."}
    files = {
        "unfinished": [{"instruction": "Say 1."}],
        "labels": [{**question, "label": 1}, {**question, "label": 7}],
        "unasked": [{"output": "It is 1."}],
        "unanswered": [prompt],
        "answers": [{**prompt, "output": "1."}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    prompts, harness = "suite.prompts.alpaca_eval.prompts", "stages=[train,harness]"
    judge = "stages=[train,generate,judge]"
    asked = {
        "row 1 has no field 'output'": [f"dataset.path={tmp_path}/unfinished.json"],
        "row 2 has the label 7": [harness, f"suite.tasks.piqa.files.validation={tmp_path}/labels.json"],
        "is not a task that lm-eval knows; did you mean pisa, piqa": [harness, "suite.tasks.piqa.task=pika"],
        "metric=f2 is not reported by piqa": [harness, "suite.tasks.piqa.metric=f2"],
        "unasked.json: row 1 has no text in field instruction": [f"{prompts}={tmp_path}/unasked.json"],
        "unanswered.json: row 1 has no reference answer": [judge, f"{prompts}={tmp_path}/unanswered.json"],
        "answers.json: 1 answers for 3 prompts": [judge, f"+judge.opponents.alpaca_eval={tmp_path}/answers.json"],
        "judge j cannot be reached": [judge],
        "suite.decoding.max_new_tokens=100000": ["suite.decoding.max_new_tokens=100000"],
    }
    configs = tmp_path / "configs"
    configs.write_bytes(pickle.dumps([own_study(*fields) for fields in asked.values()]))
    command = [sys.executable, "-c", CHILD, str(configs)]
    told, heavy = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [(words, line) for words, line in zip(asked, told, strict=True) if words not in line] == []
    assert heavy == []
