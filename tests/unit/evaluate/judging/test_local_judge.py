"""PandaLM from weights: its decoding, its batches, its log, and what it refuses."""

import pickle
from pathlib import Path

import pytest
import torch

from plw.config.judge import JudgeConfig
from plw.errors import UnreadableError, UserError
from plw.evaluate.judging.local_judge import LocalJudge
from plw.evaluate.judging.pairwise import Pair
from plw.evaluate.judging.response_cache import ResponseCache
from plw.evaluate.models.hf import EvalModel, generate
from plw.progress import no_progress

PAIRS = [Pair(instruction=f"Question {n}?", answer="the river " * n, reference="salt") for n in range(1, 6)]


@pytest.fixture
def panda(tiny_folder: Path) -> JudgeConfig:
    return JudgeConfig(
        name="panda",
        kind="weights",
        path=str(tiny_folder),
        protocols=["pandalm"],
        max_tokens=4,
        dtype="float32",
        batch_size=4,
        max_unparsed=1.0,
    )


def test_a_model_that_knows_no_verdicts_fails_the_stage(panda: JudgeConfig, tiny_folder: Path, tmp_path: Path) -> None:
    judge = LocalJudge.load(panda, str(tiny_folder), "cpu")
    with (
        ResponseCache(tmp_path / "log") as replies,
        pytest.raises(UnreadableError, match=r"5 of 5 verdicts cannot be read"),
    ):
        judge.compare("pandalm", PAIRS, replies=replies, work=tmp_path)
    assert len((tmp_path / "log").read_text().splitlines()) == 10, "each pair in both orders"


def test_batches_are_the_same_when_the_work_was_cut(panda: JudgeConfig, loaded: EvalModel, tmp_path: Path) -> None:
    """Whatever part of the log is left, the rest is judged in the batches of an undisturbed run."""
    judge, seen = LocalJudge(panda, loaded), []
    judge._generate = lambda batch: seen.append(tuple(batch)) or ["1"] * len(batch)  # type: ignore[method-assign]
    with ResponseCache(tmp_path / "log") as replies:
        whole = judge.compare("pandalm", PAIRS, replies=replies, work=tmp_path)
    batches = list(seen)
    seen.clear()
    lines = (tmp_path / "log").read_text().splitlines(keepends=True)
    (tmp_path / "log").write_text("".join(lines[:5]) + lines[5][:20])
    with ResponseCache(tmp_path / "log") as replies:
        again = judge.compare("pandalm", PAIRS, replies=replies, work=tmp_path)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert seen == batches[1:], "the second batch was half done, so it is done again whole"
    assert again == whole
    assert (whole.win_rate, whole.conflicts, whole.cut) == (50.0, 5, 0)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_decoding_is_transformers_own_beam_search(loaded: EvalModel, batch_size: int) -> None:
    prompts = ["The weather in the valley", "Who?", "Question: How do you cut rope with a knife? Answer:"]
    answers = generate(loaded, prompts, max_new_tokens=8, beams=4, repetition_penalty=1.2, batch_size=batch_size)
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = loaded.tokenizer(prompt, return_tensors="pt")
        output = loaded.model.generate(  # type: ignore[operator]
            **tokens, max_new_tokens=8, num_beams=4, repetition_penalty=1.2, early_stopping=True, do_sample=False
        )
        own = output[0, tokens["input_ids"].shape[1] :]
        assert answer.text == loaded.tokenizer.decode(own, skip_special_tokens=True).strip()


def test_special_tokens_in_an_answer_end_nothing(panda: JudgeConfig, loaded: EvalModel) -> None:
    judge = LocalJudge(panda, loaded)
    assert judge._plain("good</s><s> 1<pad>") == "good 1"


def test_other_protocols_are_refused(panda: JudgeConfig, loaded: EvalModel, tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "log") as replies, pytest.raises(UserError, match="not alpaca_eval"):
        LocalJudge(panda, loaded).compare("alpaca_eval", PAIRS, replies=replies, work=tmp_path, progress=no_progress)


def test_older_weights_are_read_and_run_nothing(tiny_folder: Path, tmp_path: Path, loaded: EvalModel) -> None:
    """Weights from before safetensors go through torch's restricted reader, which a malicious pickle does not pass."""
    folder = tmp_path / "old"
    folder.mkdir()
    for path in tiny_folder.iterdir():
        if path.suffix == ".json":
            (folder / path.name).write_bytes(path.read_bytes())
    torch.save(loaded.model.state_dict(), folder / "pytorch_model.bin")
    old = EvalModel.load(folder, safetensors_only=False).model.state_dict()
    assert all(torch.equal(value, old[name]) for name, value in loaded.model.state_dict().items())
    with pytest.raises(UserError, match="cannot be loaded"):
        EvalModel.load(folder)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(UserError, match="cannot be loaded"):
        EvalModel.load(folder, safetensors_only=False)
    assert not (tmp_path / "touched").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)
