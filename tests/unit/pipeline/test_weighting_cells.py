"""Cells whose losses differ in roles, weights of the data, a factor or the chat template: trained, and told apart."""

import json
from pathlib import Path

import numpy as np

from plw.config.loss import ROLES
from plw.pipeline import JudgeCache, resolve_cell
from plw.pipeline.context import CellContext
from plw.registry import Registry
from tests.unit.pipeline.conftest import OwnStudy, run

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_cells_of_every_weighting_are_rows_of_their_own(own_study: OwnStudy, tmp_path: Path) -> None:
    (tmp_path / "model" / "chat_template.jinja").write_text(CHATML)
    talks = [
        {"conversations": [{"from": "human", "value": f"Say {n}."}, {"from": "gpt", "value": "No", "weight": 0.0},
                           {"from": "human", "value": "Why?"}, {"from": "gpt", "value": f"It is {n}."}]}
        for n in range(16)
    ]  # fmt: skip
    (tmp_path / "talks.json").write_text(json.dumps(talks))
    chats = ["template=chat", "dataset.name=talks", f"dataset.path={tmp_path}/talks.json", "dataset.format=sharegpt"]
    choices = {
        "": ["loss.prompt_weight=0.1"],
        "template=0": ["loss=instruction-modelling"],
        "dft": ["loss/factor=dft", "loss.prompt_weight=0.1"],
        "user=0.5": [*chats, "loss.roles.user=0.5"],
    }
    configs = [own_study("stages=[train,diagnose]", *words) for words in choices.values()]
    for config in configs:
        assert {stage.status for stage in run(config).stages.values()} == {"done"}, config.loss.label
    with Registry.open(f"sqlite:///{tmp_path}/runs/registry.sqlite") as registry:
        scores = registry.scores_frame()
    assert set(scores["weighting"]) == set(choices)
    assert len(scores.groupby("cell")) == len(choices)

    with JudgeCache() as judges, CellContext(resolve_cell(configs[-1]), lambda *_: None, judges) as context:
        example = context.data.encoded[2]
        words = {role: example.token_T[example.role_T == place] for place, role in enumerate(ROLES)}
        assert context.tokenizer.decode(words["assistant"]) == "No</s>It is 2.</s>"
        assert context.tokenizer.decode(words["user"]).replace(" ", "") == "Say2.Why?"
        assert example.weight_T is not None
        unlearned = context.tokenizer.decode(example.token_T[example.weight_T == 0])
        assert unlearned == "No</s>"
        assert np.count_nonzero(example.weight_T == 0) + np.count_nonzero(example.weight_T == 1) == len(example.token_T)
