"""Diagnostics against numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from plw.config.evaluation import DiagnosticsConfig
from plw.errors import StageError, UserError
from plw.evaluate.diagnostics.measurements import generation_length, loss_rsd, memorisation
from plw.evaluate.diagnostics.weight_distance import weight_distance
from plw.evaluate.models.hf import EvalModel, generate
from plw.evaluate.models.protocol import Generation


def test_loss_rsd_is_the_mean_over_whole_windows() -> None:
    # Window 1: mean 2, sample deviation sqrt((1+0+0+0+1)/4) = sqrt(0.5). Window 2: constant. Two steps fill no window.
    (score,) = loss_rsd([1, 2, 2, 2, 3, 4, 4, 4, 4, 4, 100, 1], window=5, suite="s")

    assert (score.benchmark, score.metric, score.n, score.headline) == ("loss_rsd", "mean", 2, False)
    assert score.value == pytest.approx(math.sqrt(0.5) / 2 / 2)


@given(
    st.lists(st.floats(0.01, 20, allow_subnormal=False), min_size=2, max_size=60),
    st.integers(2, 9),
    st.floats(0.1, 10),
)
def test_loss_rsd_is_numpys_and_knows_no_scale(losses: list[float], window: int, factor: float) -> None:
    whole = len(losses) // window * window
    scores = loss_rsd(losses, window, "s")
    if not whole:
        assert scores == []
        return
    windows = np.array(losses[:whole]).reshape(-1, window)
    expected = windows.std(axis=1, ddof=1) / windows.mean(axis=1)
    assert scores[0].value == pytest.approx(expected.mean(), abs=1e-9)
    assert scores[0].n == len(expected)
    if len(expected) > 1:
        assert scores[0].stderr == pytest.approx(expected.std(ddof=1) / len(expected) ** 0.5, abs=1e-9)
    (scaled,) = loss_rsd([factor * loss for loss in losses], window, "s")
    assert scaled.value == pytest.approx(scores[0].value, rel=1e-6, abs=1e-9)


def test_loss_rsd_of_a_short_run_is_missing_not_zero() -> None:
    assert loss_rsd([1.0, 2.0], window=5, suite="s") == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_rsd_refuses_what_is_not_a_loss(bad: float) -> None:
    with pytest.raises(StageError, match="step 3"):
        loss_rsd([1.0, 1.0, bad, 1.0, 1.0], window=5, suite="s")
    with pytest.raises(StageError, match="steps 1 to 2"):
        loss_rsd([0.0, 0.0], window=2, suite="s")


def test_weight_distance_by_hand(tmp_path: Path) -> None:
    base, learned = tmp_path / "base", tmp_path / "learned"
    for folder in (base, learned):
        folder.mkdir()
    save_file({"embed.weight": torch.zeros(2, 2), "layers.0.w": torch.zeros(3)}, str(base / "model-1.safetensors"))
    save_file({"layers.1.w": torch.ones(2, dtype=torch.bfloat16)}, str(base / "model-2.safetensors"))
    save_file(
        {
            "embed.weight": torch.tensor([[1.0, 0], [0, 0], [7, 7]]),
            "layers.0.w": torch.tensor([3.0, -4.0, 0.0]),
            "layers.1.w": torch.tensor([1.0, 1.0]),
        },
        str(learned / "model.safetensors"),
    )

    scores = weight_distance(learned, base, "s")

    values = {score.metric: (score.value, score.n) for score in scores}
    assert values == {
        "l2": (pytest.approx(math.sqrt(26)), 9),
        "l1": (8.0, 9),
        "l2.layer.0": (5.0, 3),
        "l1.layer.0": (7.0, 3),
        "l2.layer.1": (0.0, 2),
        "l1.layer.1": (0.0, 2),
        "l2.other": (1.0, 4),
        "l1.other": (1.0, 4),
        "extra_rows": (1.0, None),
    }
    assert not any(score.headline for score in scores)


def test_weight_distance_is_torchs_norm_of_the_difference(tiny_folder: Path, tmp_path: Path) -> None:
    """Against p-norms of the whole difference taken at once, and by the layers' own modules."""
    from transformers import LlamaForCausalLM

    base, learned = (LlamaForCausalLM.from_pretrained(tiny_folder) for _ in range(2))
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    learned.save_pretrained(tmp_path)
    scores = {score.metric: score.value for score in weight_distance(tmp_path, tiny_folder, "s")}

    def norms(mine: torch.nn.Module, other: torch.nn.Module) -> tuple[float, float]:
        pairs = zip(mine.parameters(), other.parameters(), strict=True)
        difference = torch.cat([(a - b).detach().flatten().double() for a, b in pairs])
        return float(torch.linalg.vector_norm(difference, 1)), float(torch.linalg.vector_norm(difference, 2))

    assert (scores["l1"], scores["l2"]) == pytest.approx(norms(learned, base), rel=1e-6)
    for number, (mine, other) in enumerate(zip(learned.model.layers, base.model.layers, strict=True)):
        found = (scores[f"l1.layer.{number}"], scores[f"l2.layer.{number}"])
        assert found == pytest.approx(norms(mine, other), rel=1e-6)
    parts = [name for name in scores if name.startswith("l2.")]
    assert scores["l2"] == pytest.approx(math.hypot(*(scores[name] for name in parts)))


def test_weight_distance_to_itself_is_zero(tiny_folder: Path) -> None:
    values = {score.metric: score.value for score in weight_distance(tiny_folder, tiny_folder, "s")}

    assert set(values.values()) == {0.0}
    assert {"l2.layer.0", "l2.layer.1"} <= values.keys()


def test_weight_distance_refuses_models_that_do_not_match(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c", "empty")]
    for folder in folders:
        folder.mkdir()
    save_file({"w": torch.zeros(2, 2)}, str(folders[0] / "m.safetensors"))
    save_file({"w": torch.zeros(2, 3)}, str(folders[1] / "m.safetensors"))
    save_file({"w": torch.zeros(2, 2), "v": torch.zeros(1)}, str(folders[2] / "m.safetensors"))

    with pytest.raises(UserError, match=r"tensor w is \[2, 2\]"):
        weight_distance(folders[0], folders[1], "s")
    with pytest.raises(UserError, match="tensor v is not in the other model"):
        weight_distance(folders[2], folders[0], "s")
    with pytest.raises(UserError, match="no safetensors"):
        weight_distance(folders[0], folders[3], "s")


def test_memorisation_is_perfect_on_the_models_own_answers(loaded: EvalModel) -> None:
    prompts = ["The weather", "Question:", "Who lives there?", "The market sells"]
    answers = [answer.text for answer in generate(loaded, prompts, max_new_tokens=24)]
    config = DiagnosticsConfig(memorisation_samples=10, memorisation_max_new_tokens=24)

    (score,) = memorisation(loaded, prompts, answers, config, suite="s")

    assert score.value == pytest.approx(100.0)
    assert (score.benchmark, score.metric, score.n) == ("memorisation", "bleu", 4)
    assert score.library_version is not None
    assert "tok:13a" in score.library_version
    assert "smooth:exp" in score.library_version


def test_memorisation_draws_a_seeded_sample(loaded: EvalModel) -> None:
    prompts = [f"{number} {number}" for number in range(20)]
    completions = [f"the weather {number} is rainy and salt" for number in range(20)]
    config = DiagnosticsConfig(memorisation_samples=5, memorisation_max_new_tokens=8)

    first = memorisation(loaded, prompts, completions, config, suite="s", seed=1)
    again = memorisation(loaded, prompts, completions, config, suite="s", seed=1, batch_size=2)

    assert first == again
    assert first[0].n == 5
    answers = [answer.text for answer in generate(loaded, prompts, max_new_tokens=8)]
    whole = memorisation(loaded, prompts, completions, DiagnosticsConfig(memorisation_max_new_tokens=8), suite="s")
    assert whole[0].value == pytest.approx(sacrebleu.corpus_bleu(answers, [completions]).score)


def test_memorisation_needs_pairs(loaded: EvalModel) -> None:
    with pytest.raises(UserError, match="found 1 and 0"):
        memorisation(loaded, ["a"], [], DiagnosticsConfig(), suite="s")


def test_generation_length() -> None:
    answers = [
        Generation(text="one two three", tokens=5, finished=True),
        Generation(text="one", tokens=1, finished=False),
    ]

    values = {score.metric: (score.value, score.stderr, score.n) for score in generation_length(answers, "s")}

    assert values == {"tokens": (3.0, 2.0, 2), "words": (2.0, 1.0, 2), "finished": (0.5, 0.5, 2)}
    with pytest.raises(UserError, match="at least one answer"):
        generation_length([], "s")
