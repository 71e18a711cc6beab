"""Diagnostics against numbers worked out by hand."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from plw.config.evaluation import DiagnosticsConfig
from plw.errors import StageError, UserError
from plw.evaluate.diagnostics.measurements import generation_length, loss_rsd, memorisation, preference_fit
from plw.evaluate.diagnostics.weight_distance import parameter_distance, weight_distance
from plw.evaluate.models.hf import EvalModel, generate
from plw.evaluate.models.protocol import Generation
from plw.testing.models import SIZES, make_model


def test_how_pairs_stand_is_of_the_last_epoch() -> None:
    same = {"chosen_reward": -0.5, "loss": 0.6}
    steps = [
        {"epoch": 1, "accuracy": 0.0, "margin": 9.0, **same},
        {"epoch": 2, "accuracy": 0.5, "margin": 0.1, **same},
        {"epoch": 2, "accuracy": 1.0, "margin": 0.3, **same},
    ]
    found = {score.metric: score for score in preference_fit(steps, suite="s")}
    assert {name: score.value for name, score in found.items()} == pytest.approx(
        {"accuracy": 0.75, "margin": 0.2, "chosen_reward": -0.5, "loss": 0.6}
    )
    assert {(score.benchmark, score.n, score.headline) for score in found.values()} == {("preferences", 2, False)}
    assert preference_fit([], suite="s") == []


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


def test_weight_distance_by_hand() -> None:
    base = {"embed.weight": torch.zeros(2, 2), "layers.0.w": torch.zeros(3)}
    base |= {"layers.1.w": torch.ones(2, dtype=torch.bfloat16)}
    learned = {
        "embed.weight": torch.tensor([[1.0, 0], [0, 0], [7, 7]]),
        "layers.0.w": torch.tensor([3.0, -4.0, 0.0]),
        "layers.1.w": torch.tensor([1.0, 1.0]),
    }

    scores = parameter_distance(learned, base, "s")

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


def test_weight_distance_refuses_models_that_do_not_match(tiny_folder: Path, tmp_path: Path) -> None:
    square, wide = {"w": torch.zeros(2, 2)}, {"w": torch.zeros(2, 3)}
    with pytest.raises(UserError, match=r"tensor w is \[2, 2\]"):
        parameter_distance(square, wide, "s")
    with pytest.raises(UserError, match="tensor v is not in the other model"):
        parameter_distance(square | {"v": torch.zeros(1)}, square, "s")
    shutil.copy(tiny_folder / "config.json", tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}: the model cannot be loaded .*safetensors"):
        weight_distance(tiny_folder, tmp_path, "s")


def change_stored(folder: Path, copy: Path, change: Callable[[dict[str, torch.Tensor]], None], parts: int = 1) -> Path:
    """A copy of a model's folder whose weights file is changed, and cut into so many files with an index."""
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    if parts == 1:
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
        return copy
    (copy / "model.safetensors").unlink()
    names, where = sorted(tensors), {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = names[part::parts]
        save_file({name: tensors[name] for name in mine}, copy / file, metadata={"format": "pt"})
        where |= dict.fromkeys(mine, file)
    (copy / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return copy


def rotary(tensors: dict[str, torch.Tensor]) -> None:
    """As the LLaMA-1 and -2 conversions on the hub store it: a buffer of four numbers a layer."""
    for layer in range(2):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)


def tied_head(tensors: dict[str, torch.Tensor]) -> None:
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


@pytest.mark.parametrize(
    ("change", "numbers"),
    [(rotary, 8), (tied_head, 320 * 32), (lambda tensors: (rotary(tensors), tied_head(tensors)), 8 + 320 * 32)],
)
@pytest.mark.parametrize("parts", [1, 3])
def test_what_a_checkpoint_stores_beside_its_parameters_is_counted_and_not_refused(
    tiny_folder: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], numbers: int, parts: int
) -> None:
    base = change_stored(tiny_folder, tmp_path / "base", change, parts)
    # Of other tools, and of another training; no index names them.
    save_file({"x": torch.zeros(3)}, base / "consolidated.safetensors")
    save_file({"y": torch.zeros(3)}, base / "adapter_model.safetensors")

    scores = {score.metric: score for score in weight_distance(tiny_folder, base, "s")}

    model = LlamaForCausalLM.from_pretrained(tiny_folder)
    assert (scores["l2"].value, scores["l1"].value, scores["l2"].n) == (0.0, 0.0, model.num_parameters())
    assert (scores["left_out"].value, scores["extra_rows"].value) == (float(numbers), 0.0)


def test_names_of_a_checkpoint_may_be_older_than_those_of_the_model(tmp_path: Path) -> None:
    """GPT-2 on the hub lacks the prefix that transformers writes today; experts of Mixtral are stored one by one."""
    folder = make_model(tmp_path / "new", "GPT2", head="LMHeadModel", n_embd=32, n_head=2, n_layer=2, n_positions=64)

    def unprefixed(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64)

    old = change_stored(folder, tmp_path / "old", unprefixed)
    scores = {score.metric: score.value for score in weight_distance(folder, old, "s")}
    assert (scores["l2"], scores["l2.layer.1"], scores["left_out"]) == (0.0, 0.0, 64.0 * 64)
    mixture = make_model(tmp_path / "mixture", "Mixtral", num_local_experts=2, **SIZES)
    scores = {score.metric: score.value for score in weight_distance(mixture, mixture, "s")}
    assert (scores["l2"], scores["left_out"]) == (0.0, 0.0)


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
