"""lm-eval's model with contexts computed once and rows that leave, against lm-eval's own."""

from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from plw.evaluate.models import decode, score_rows
from plw.evaluate.models.hf import EvalModel
from plw.evaluate.models.shared_context import batches_by_context, shared_share
from plw.testing.families import CACHE_FAMILIES, family

QUESTIONS = {
    "How do you cut rope?": [" with a knife", " with a river and a market", " by weather"],
    "The river flows to the": [" sea", " valley"],
    "Who lives there, in the rainy valley by the market that sells salt?": [" a", " b", " c", " d", " e", " f", " g"],
    "Alone:": [" salt and rope"],
}


def requests(questions: dict[str, list[str]]) -> list[Instance]:
    pairs = [(context, rest) for context, choices in questions.items() for rest in choices]
    return [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=place) for place, pair in enumerate(pairs)
    ]


def computed(model: Any, ask: Any) -> tuple[Any, int]:
    """The answer, and the tokens that went through the model for it."""
    tokens: list[int] = []
    watch = model.register_forward_pre_hook(
        lambda _, read, named: tokens.append((read[0] if read else named["input_ids"]).numel()), with_kwargs=True
    )
    try:
        return ask(), sum(tokens)
    finally:
        watch.remove()


@pytest.mark.parametrize("limit", [1, 100_000, 1 << 30])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("name", CACHE_FAMILIES)
def test_likelihoods_are_lm_evals(
    loaded: EvalModel, monkeypatch: pytest.MonkeyPatch, name: str, batch_size: int, limit: int
) -> None:
    """However many continuations fit into memory at a time."""
    monkeypatch.setitem(score_rows.SCORES_BYTES, "cpu", limit)
    model = family(loaded, name, list(QUESTIONS))
    theirs = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=batch_size)
    ours = model.for_harness(batch_size)
    asked = requests(QUESTIONS)

    expected, all_tokens = computed(model.model, lambda: theirs.loglikelihood(asked, disable_tqdm=True))
    found, tokens = computed(model.model, lambda: ours.loglikelihood(asked, disable_tqdm=True))

    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert len({round(value, 3) for value, _ in found}) == len(asked)
    assert not ours.cut
    if name != "Mamba" and batch_size > 1:
        assert tokens < all_tokens


def test_greedy_continuations_are_told(loaded: EvalModel) -> None:
    model = family(loaded, "Llama", list(QUESTIONS))
    model.model.generation_config.eos_token_id = None
    context = "The river flows to the"
    read = model.tokenizer(context, return_tensors="pt")
    written = model.model.generate(**read, max_new_tokens=3, do_sample=False)[0, read["input_ids"].shape[1] :].tolist()
    ours = model.for_harness(8)
    other = [token + 1 for token in written]
    ours._asked = [None] * 3  # What lm-eval's own wrapper sets before it hands tokens on.
    found = ours._loglikelihood_tokens(
        [(("", ""), read["input_ids"][0].tolist(), rest) for rest in (written, other, [*written[:2], other[2]])]
    )
    assert [greedy for _, greedy in found] == [True, False, False]


def test_a_context_that_is_cut_is_lm_evals_own_business(loaded: EvalModel) -> None:
    model = family(loaded, "Llama", list(QUESTIONS))
    asked = requests(QUESTIONS | {"salt " * 40: [" a", " b"]})
    theirs = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=4, max_length=30)
    ours = model.for_harness(4)
    ours._max_length = 30
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    found = ours.loglikelihood(asked, disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert {id(asked[-1]), id(asked[-2])} <= ours.cut


@pytest.mark.parametrize("stop", [[], ["a"], ["e", "o", "\n"]])
@pytest.mark.parametrize("name", CACHE_FAMILIES)
def test_answers_are_lm_evals(loaded: EvalModel, monkeypatch: pytest.MonkeyPatch, name: str, stop: list[str]) -> None:
    monkeypatch.setattr(decode, "STRETCH", 3)
    model = family(loaded, name, list(QUESTIONS))
    how = {"until": stop, "do_sample": False, "temperature": 0.0, "max_gen_toks": 24}
    asked = [
        Instance(request_type="generate_until", doc={}, arguments=(context, how), idx=place)
        for place, context in enumerate(QUESTIONS)
    ]
    theirs = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=4)
    expected, all_tokens = computed(model.model, lambda: theirs.generate_until(asked, disable_tqdm=True))
    found, tokens = computed(model.model, lambda: model.for_harness(4).generate_until(asked, disable_tqdm=True))
    assert found == expected
    assert len({len(text) for text in found}) > 1
    if name != "Mamba":
        assert tokens < all_tokens


def test_what_asks_for_chance_is_left_to_lm_eval(loaded: EvalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stretches would draw other numbers."""
    calls: list[Any] = []
    own = HFLM._model_generate
    monkeypatch.setattr(HFLM, "_model_generate", lambda self, *a, **k: calls.append(k) or own(self, *a, **k))
    how = {"until": [], "do_sample": True, "temperature": 0.7, "max_gen_toks": 4}
    asked = [Instance(request_type="generate_until", doc={}, arguments=("The river", how), idx=0)]
    family(loaded, "Llama", list(QUESTIONS)).for_harness(4).generate_until(asked, disable_tqdm=True)
    assert len(calls) == 1


def test_every_pair_is_in_one_batch_of_the_size_asked_for() -> None:
    pairs = [
        ([context] * 3 * context, [1] * (1 + choice % 4)) for context in (1, 2, 3, 4) for choice in range(context * 3)
    ]
    for size in (1, 2, 5, 100):
        batches = batches_by_context(pairs, size)
        assert sorted(place for batch in batches for place in batch) == list(range(len(pairs)))
        assert max(map(len, batches)) <= size
    whole = [{pairs[place][0][0] for place in batch} for batch in batches_by_context(pairs, 12)]
    assert sum(map(len, whole)) == 4, "a context is computed twice"


def test_the_share_that_is_saved() -> None:
    assert shared_share([([1, 2, 3], [4]), ([1, 2, 3], [5])]) == 3 / 8
    assert shared_share([([1, 2, 3], [4]), ([1, 2], [5])]) == 0
    assert shared_share([]) == 0
