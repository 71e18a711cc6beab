"""Generation: order, batch independence, cutting, stopping, seeds."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from plw.errors import UserError
from plw.evaluate.models.hf import EvalModel, generate, generate_tokens

PROMPTS = [
    "The weather",
    "How do you cut rope with a knife? Answer:",
    "Question:",
    "The market sells salt and the river",
    "Who lives there?",
    "Below is an instruction that describes a task. Write a response",
    "a",
]


def test_greedy_answers_are_those_of_one_prompt_at_a_time_without_padding(loaded: EvalModel) -> None:
    """The reference is a plain loop: no cache, no padding, no transformers.generate."""
    expected = []
    for prompt in PROMPTS:
        tokens = list(loaded.tokenizer(prompt)["input_ids"])
        start = len(tokens)
        with torch.inference_mode():
            while len(tokens) < start + 12:
                tokens.append(int(loaded.model(torch.tensor([tokens])).logits[0, -1].argmax()))
                if tokens[-1] == loaded.tokenizer.eos_token_id:
                    break
        ended = tokens[-1] == loaded.tokenizer.eos_token_id
        answer = tokens[start:-1] if ended else tokens[start:]
        expected.append((loaded.tokenizer.decode(answer, skip_special_tokens=True).strip(), len(answer), ended))

    for batch_size in (1, 3, 64):
        answers = generate(loaded, PROMPTS, max_new_tokens=12, batch_size=batch_size)
        assert [(answer.text, answer.tokens, answer.finished) for answer in answers] == expected


def test_words_begin_behind_the_last_token_of_a_header(loaded: EvalModel) -> None:
    how = {"max_new_tokens": 12, "num_beams": 1, "repetition_penalty": 1.0}
    (written,) = generate_tokens(loaded, [loaded.tokenizer(PROMPTS[0])["input_ids"]], how, [], lambda _: None)
    place = max(place for place in range(6) if written[place] not in written[place + 1 :])
    (answer,) = generate(loaded, PROMPTS[:1], max_new_tokens=12, before_words=written[place])
    assert answer.text == loaded.tokenizer.decode(written[place + 1 :], skip_special_tokens=True).strip()
    assert answer.tokens == 12


def test_samples_depend_on_seed_and_position_only(loaded: EvalModel) -> None:
    def sample(prompts: list[str], batch_size: int, seed: int) -> list[str]:
        answers = generate(
            loaded, prompts, max_new_tokens=10, temperature=2.0, top_p=0.95, seed=seed, batch_size=batch_size
        )
        return [answer.text for answer in answers]

    torch.manual_seed(1)
    alone = sample(PROMPTS, 1, seed=5)
    torch.manual_seed(2)
    assert sample(PROMPTS, 4, seed=5) == alone
    assert sample(PROMPTS[:3], 2, seed=5) == alone[:3]
    assert sample(PROMPTS, 4, seed=6) != alone


def test_sets_of_prompts_asked_together_are_sampled_as_each_alone(loaded: EvalModel) -> None:
    how: dict[str, Any] = {"max_new_tokens": 10, "temperature": 2.0, "seed": 5}
    first, second = PROMPTS[:4], PROMPTS[4:]
    together = generate(loaded, first + second, streams=[*range(4), *range(3)], batch_size=3, **how)
    assert together == generate(loaded, first, **how) + generate(loaded, second, **how)


def test_sampling_follows_the_models_distribution(loaded: EvalModel) -> None:
    """First tokens of many samples against p^(1/T), by a bound that a right sampler passes with near certainty."""
    prompt, draws, temperature = "The weather", 2000, 3.0
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([loaded.tokenizer(prompt)["input_ids"]])).logits[0, -1]
    probability_V = torch.softmax(logits / temperature, dim=-1)
    top = int(probability_V.argmax())
    expected_text = loaded.tokenizer.decode([top], skip_special_tokens=True).strip()
    same_text = [
        index
        for index in range(len(probability_V))
        if loaded.tokenizer.decode([index], skip_special_tokens=True).strip() == expected_text
    ]
    share = float(probability_V[same_text].sum())

    answers = generate(loaded, [prompt] * draws, max_new_tokens=1, temperature=temperature, seed=0, batch_size=500)

    found = sum(answer.text == expected_text for answer in answers) / draws
    assert abs(found - share) < 5 * (share * (1 - share) / draws) ** 0.5


def test_top_p_zero_is_greedy(loaded: EvalModel) -> None:
    greedy = generate(loaded, PROMPTS, max_new_tokens=6)

    assert generate(loaded, PROMPTS, max_new_tokens=6, temperature=5.0, top_p=0.0) == greedy


def test_a_long_prompt_is_cut_from_the_left_and_counted(loaded: EvalModel) -> None:
    long = "0 1 2 3 4 5 6 7 8 9 " * 80 + "The weather in the valley"
    length = len(loaded.tokenizer(long)["input_ids"])

    cut, whole = generate(loaded, [long, "The weather"], max_new_tokens=5, batch_size=2)

    assert cut.prompt_tokens_cut == length - (512 - 5) > 0
    assert whole.prompt_tokens_cut == 0
    tokens = list(loaded.tokenizer(long)["input_ids"])[-(512 - 5) :]
    with torch.inference_mode():
        for _ in range(5):
            tokens.append(int(loaded.model(torch.tensor([tokens])).logits[0, -1].argmax()))
    assert cut.text == loaded.tokenizer.decode(tokens[-5:], skip_special_tokens=True).strip()


def test_no_room_for_a_prompt_is_refused(loaded: EvalModel) -> None:
    with pytest.raises(UserError, match=r"max_new_tokens=512 leaves no room.*context is 512 tokens"):
        generate(loaded, ["a"], max_new_tokens=512)


def test_no_prompts_no_answers(loaded: EvalModel) -> None:
    assert generate(loaded, [], max_new_tokens=5) == []


def test_progress_counts_prompts(loaded: EvalModel) -> None:
    heard: list[tuple[int, int]] = []

    generate(
        loaded,
        PROMPTS,
        max_new_tokens=1,
        batch_size=3,
        progress=lambda done, total, note="": heard.append((done, total)),
    )

    assert heard == [(0, 7), (3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("beams", [1, 2])
def test_progress_goes_on_while_a_batch_is_written(
    loaded: EvalModel, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    quiet = generate(loaded, PROMPTS[:3], max_new_tokens=5, batch_size=2, beams=beams)
    monkeypatch.setattr("plw.evaluate.models.token_progress.EVERY_S", 0.0)
    heard: list[tuple[int, int, str]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        heard.append((done, total, note))

    told = generate(loaded, PROMPTS[:3], max_new_tokens=5, batch_size=2, beams=beams, progress=progress)
    assert told == quiet
    assert heard[1] == (0, 3, "answers, token 1 of 5 at most")
    assert (2, 3, "answers, token 1 of 5 at most") in heard
    assert heard[-1] == (3, 3, "answers")


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"no config\.json"):
        EvalModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="the model cannot be loaded"):
        EvalModel.load(tmp_path)


def test_the_context_of_a_nested_config_is_that_of_its_text_part(loaded: EvalModel) -> None:
    """Multimodal configs hold the language model's fields one level below; a tokenizer without a limit says 1e30."""
    from transformers import Gemma3Config

    config = Gemma3Config(text_config={"max_position_embeddings": 777})
    assert not hasattr(config, "max_position_embeddings")
    model: Any = SimpleNamespace(config=config)
    nested = EvalModel(model=model, tokenizer=loaded.tokenizer, device=loaded.device)
    assert nested.context_length == 777


def test_code_that_comes_with_a_model_runs_where_it_is_trusted(tiny_folder: Path, tmp_path: Path) -> None:
    """Here a Llama that says the opposite; transformers would take its own Llama in its place."""
    folder = tmp_path / "own_code"
    shutil.copytree(tiny_folder, folder)
    (folder / "modeling_own.py").write_text(
        "from transformers import LlamaForCausalLM\n\n\nclass OwnForCausalLM(LlamaForCausalLM):\n"
        "    def forward(self, *args, **kwargs):\n        output = super().forward(*args, **kwargs)\n"
        "        output.logits = -output.logits\n        return output\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["OwnForCausalLM"], "auto_map": {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}}
    (folder / "config.json").write_text(json.dumps(config))

    own = EvalModel.load(folder, trust_remote_code=True)
    plain = EvalModel.load(folder)

    tokens = torch.tensor([plain.tokenizer(PROMPTS[0])["input_ids"]])
    assert type(own.model).__name__ == "OwnForCausalLM"
    assert torch.equal(own.model(tokens).logits, -plain.model(tokens).logits)
