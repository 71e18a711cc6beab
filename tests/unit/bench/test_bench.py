"""The benchmark scripts run as they are documented, on a small case."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_the_head_of_a_small_step() -> None:
    sizes = ["--tokens", "2048", "--hidden", "512", "--vocab", "16384", "--threads", "1", "--repeats", "1"]
    result = run("scripts/bench_head.py", *sizes, "--checked", "64", "--ways", "fused", "full", "torch", "liger")
    assert result["logits_mib"] == 128
    ways = result["ways"]
    assert isinstance(ways, dict)
    # Triton's kernels do not run on a CPU.
    assert "CUDA" in ways.pop("liger")["missing"]
    fused, full = ways["fused"], ways["full"]
    for way in ways.values():
        assert abs(way["loss"] - full["loss"]) < 1e-4 * full["loss"]
        assert max(way["hidden_error"], way["weight_error"]) < 1e-4
        assert way["times_first"] == pytest.approx(way["seconds"] / fused["seconds"], rel=1e-2)
    # A chunk of 64 MiB and the weight's gradient of 32, against several tensors of 128 and the same gradient.
    assert 32 + 64 < fused["peak_mib"] < 200 < 300 < full["peak_mib"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["random", "a folder's"])
def test_contenders_train_on_the_same_examples(model: str, shared_data: Path, tmp_path: Path) -> None:
    tokenizer = str(shared_data / "llama_tokenizer.model")
    files = ["--data", str(shared_data / "alpaca/alpaca_cleaned_999.json"), "--json", str(tmp_path / "out.json")]
    files += ["--tokenizer", tokenizer] if model == "random" else ["--model", str(tmp_path / "tiny")]
    if model != "random":
        made = ["scripts/make_tiny_llama.py", tokenizer, str(tmp_path / "tiny"), "--hidden", "32", "--layers", "1"]
        subprocess.run([sys.executable, *made], cwd=ROOT, check=True)
    few = ["--examples", "2", "--rounds", "1", "--threads", "1"]
    few += ["--cases", "as it is", "--peers"] if model == "random" else ["--cases", "inverted", "--peers", "trainer"]
    result = run("scripts/bench_train.py", *files, *few)
    assert json.loads((tmp_path / "out.json").read_text()) == result
    cases = result["cases"]
    assert isinstance(cases, list)
    (case,) = cases
    found = (case["case"], case["prompt_weight"], case["peers_prompt_weight"])
    assert found == (("as it is", 0.1, 1) if model == "random" else ("inverted", 0.0, 0))
    assert case["examples"] == 2
    assert case["results"].keys() == ({"plw"} if model == "random" else {"plw", "trainer"})
    ours = case["results"]["plw"]
    assert ours["times_ours"] == ours["our_share_of_its_memory"] == 1
    # Two examples begin alike; the last token of each is no input.
    assert ours["computed_tokens"] < case["tokens"] - 2
    for entry in case["results"].values():
        assert entry["median_seconds"] > 0
        assert 0 < entry["share_of_peak"] < 1
        assert entry["peak_mib"] > 100
    if model != "random":
        peer = case["results"]["trainer"]
        assert peer["computed_tokens"] >= case["tokens"]
        assert peer["flops"] > ours["flops"]


@pytest.mark.slow
def test_attention_of_one_length() -> None:
    result = run("scripts/bench_attention.py", "--tokens", "20", "--heads", "4", "--groups", "2", "--repeats", "2")
    assert result["tokens"] == 20
    assert isinstance(result["ms"], dict)
    assert result["times_ours"] == pytest.approx(result["ms"]["torch"] / result["ms"]["written"], abs=0.2)
    assert isinstance(result["distance"], dict)
    assert all(0 < distance < 0.02 for way in ("written", "torch") for distance in result["distance"][way])


@pytest.mark.slow
def test_answers_of_a_small_model(shared_data: Path, tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    made = ["scripts/make_tiny_llama.py", str(shared_data / "llama_tokenizer.model"), str(model), "--hidden", "32"]
    subprocess.run([sys.executable, *made, "--layers", "1"], cwd=ROOT, check=True)
    files = ["--model", str(model), "--data", str(shared_data / "alpaca/alpaca_cleaned_999.json")]
    few = ["--prompts", "3", "--max-new-tokens", "6", "--batch-size", "3", "--rounds", "1", "--dtype", "float32"]
    result = run("scripts/bench_decode.py", *files, *few, "--stretches", "2", "4")
    assert result["prompts"] == 3
    stretches = result["stretches"]
    assert isinstance(stretches, dict)
    assert [stretches[stretch]["same_answers"] for stretch in ("2", "4")] == [3, 3]
