"""A tokenizer that appends EOS by itself changes nothing of what is generated, scored and saved."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.data.encoding import encode
from plw.data.template import Segment
from plw.data.tokenizer import add_bos_alone, load_tokenizer, tokenise
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.models.hf import EvalModel, generate
from plw.testing.tokenizers import byte_level_tokenizer

PIQA = Path(lm_eval.__file__).parent / "tasks" / "piqa"
WORDS = ["the", "weather", "market", "sells", "rope", "knife", "river", "valley", "salt", "who", "lives", "there"]
PROMPTS = ["The weather in the valley", "Who lives there?", "Question: How do you cut rope? Answer:"]


def set_template(tokens: list[str]) -> Callable[[Path], None]:
    """A post-processor in tokenizer.json that puts these around a text ($A)."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        stored = json.loads(path.read_text())
        ids = {token["content"]: token["id"] for token in stored["added_tokens"]}
        parts = [
            {"Sequence": {"id": "A", "type_id": 0}} if token == "$A" else {"SpecialToken": {"id": token, "type_id": 0}}
            for token in tokens
        ]
        special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in tokens if token != "$A"}
        stored["post_processor"] = {
            "type": "TemplateProcessing",
            "single": parts,
            "pair": [*parts, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": special,
        }
        path.write_text(json.dumps(stored))

    return change


def set_flag(folder: Path) -> None:
    """The field of early LLaMA conversions, which transformers reads where there is no tokenizer.json."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "add_bos_token": True, "add_eos_token": True}))


CASES = {
    "template": set_template(["<s>", "$A", "</s>"]),
    "template without BOS": set_template(["$A", "</s>"]),
    "padding around": set_template(["<s>", "<pad>", "$A", "<pad>"]),
    "flag": set_flag,
}


@pytest.fixture(params=CASES)
def appending(request: pytest.FixtureRequest, tiny_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model whose tokenizer appends EOS, and the same model with one that does not."""
    folders = tmp_path / "appending", tmp_path / "plain"
    for folder in folders:
        shutil.copytree(tiny_folder, folder)
    CASES[request.param](folders[0])
    if request.param == "template without BOS":
        set_template(["$A"])(folders[1])
    return folders


def test_prompts_do_not_end_in_eos_and_answers_are_the_same(appending: tuple[Path, Path]) -> None:
    with_eos, plain = (EvalModel.load(folder) for folder in appending)
    assert generate(with_eos, PROMPTS, max_new_tokens=8) == generate(plain, PROMPTS, max_new_tokens=8)
    for text in PROMPTS:
        assert with_eos.tokenizer(text)["input_ids"] == plain.tokenizer(text)["input_ids"]


def test_choices_are_scored_by_their_own_tokens(appending: tuple[Path, Path], tmp_path: Path) -> None:
    rng = random.Random(1)
    data = tmp_path / "piqa.jsonl"
    rows = [
        {
            "goal": " ".join(rng.choices(WORDS, k=5)),
            "sol1": rng.choice(WORDS),
            "sol2": rng.choice(WORDS),
            "label": rng.randrange(2),
        }
        for _ in range(60)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = TaskConfig(task="piqa", group="multiple_choice", metric="acc_norm")
    suite = SuiteConfig(name="test", tasks={"piqa": task}, builtin_tasks=False, batch_size=8)
    with_eos, plain = (
        run_tasks(EvalModel.load(folder), suite, {"piqa": {"validation": data}}, (PIQA,)).scores for folder in appending
    )
    assert with_eos == plain
    left_alone, tokens = AutoTokenizer.from_pretrained(appending[0]), EvalModel.load(appending[1]).tokenizer("a")
    if left_alone("a")["input_ids"] != tokens["input_ids"]:
        model = EvalModel.load(appending[1])
        as_it_is = EvalModel(model=model.model, tokenizer=left_alone, device=model.device)
        assert run_tasks(as_it_is, suite, {"piqa": {"validation": data}}, (PIQA,)).scores != plain


def test_training_reads_the_same_and_what_it_saves_keeps_the_rule(appending: tuple[Path, Path], tmp_path: Path) -> None:
    with_eos, plain = (load_tokenizer(folder) for folder in appending)
    segments = [[Segment(role="prompt", text="Who?"), Segment(role="completion", text=" The river.")]]
    mine, theirs = (encode(segments, tokenizer, max_length=64).examples[0] for tokenizer in (with_eos, plain))
    assert mine.token_T.tolist() == theirs.token_T.tolist()
    assert mine.role_T.tolist() == theirs.role_T.tolist()
    with_eos.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert [saved(text)["input_ids"] for text in PROMPTS] == tokenise(PROMPTS, plain)


def test_a_template_that_spells_bos_out_has_it_once(tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(tiny_folder)
    assert tokenise(["<s>Who?", "Who?"], tokenizer) == [tokenizer("Who?")["input_ids"]] * 2


@pytest.mark.parametrize(("template", "front"), [("$A <e>", []), ("<e> $A <e>", [0]), ("<e> $A", [0]), ("$A", [])])
def test_one_token_may_be_bos_eos_and_padding(template: str, front: list[int]) -> None:
    tokenizer: Any = byte_level_tokenizer(bos="<e>", eos="<e>", pad="<e>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[("<e>", 0)])
    add_bos_alone(tokenizer)
    for text in PROMPTS:
        assert tokenizer(text)["input_ids"] == front + tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenise([text], tokenizer) == [tokenizer(text)["input_ids"]]
