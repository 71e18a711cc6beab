"""Formats of 16 bits on a processor without instructions for them: told, refused, and measured small."""

import os
import platform
import subprocess
import sys

import pytest
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from plw.sweep.cpu_formats import MIN_PARAMETERS

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable below is of x86 processors")
OLDER = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""What makes torch's products those of a processor without AVX-512, as most laptops have."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The cell of a model just large enough to matter."""
    folder = tmp_path_factory.mktemp("formats")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tiny_tokenizer), hidden_size=512, intermediate_size=1536, num_hidden_layers=2,
            num_attention_heads=8, num_key_value_heads=8, tie_word_embeddings=True,
        )
    )  # fmt: skip
    assert model.num_parameters() > MIN_PARAMETERS
    model.save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    (folder / "data.json").write_text('[{"instruction": "Say it.", "input": "", "output": "It."}]')
    return [
        "model=folder", f"model.path={folder}/model", "model.name=m", "dataset=file", "dataset.name=d",
        f"dataset.path={folder}/data.json", "recipe=alpaca", "recipe.epochs=1", "recipe.batch_size=1", "suite=plw",
        "stages=[train]", "study=own", "scale=own", f"execution.runs={folder}/runs", "tracker=none",
        "execution.device=cpu",
    ]  # fmt: skip


def plw(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plw", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_format_without_instructions_is_refused_before_the_first_cell(study: list[str]) -> None:
    done = plw("run", *study, "recipe.precision=bf16-mixed", **OLDER)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("plw: recipe.precision=bf16-mixed: bf16 products take ")
    assert last.endswith("; faster here: recipe.precision=fp32")
    assert "Traceback" not in done.stderr


def test_a_plan_tells_it_and_measures_all_the_same(study: list[str]) -> None:
    done = plw("plan", *study, "recipe.precision=bf16-mixed", "execution.cost.device=cpu", **OLDER)
    assert done.returncode == 0, done.stderr
    assert "faster here: recipe.precision=fp32" in done.stdout
    assert "tokens a second" in done.stdout
