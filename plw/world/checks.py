"""What a base model knows, measured right after pretraining on held-out people, tools, plants and sentences.

Every check is an accuracy in [0, 1]; `WorldConfig.thresholds` says what each base model must reach.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plw.config.world import WorldConfig
from plw.errors import StageError
from plw.world.benchmarks import Document, make_benchmarks
from plw.world.facts import CITY_VALUES, PERSON_VALUES, World, stream
from plw.world.language import DIRECTIONS
from plw.world.phrases import STATEMENTS, opening

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 64
CHOICES = 4

Choice = tuple[str, list[str]]
"""A context and the continuations to choose from; the first is the true one."""


def measure_knowledge(folder: Path, world: World, config: WorldConfig) -> dict[str, float]:
    """Check -> accuracy of the model saved in `folder`: choosing a fact, two hops, a tool, a truth, and translating."""
    from plw.evaluate.models.hf import EvalModel

    loaded = EvalModel.load(folder)
    model, tokenizer = loaded.model, loaded.tokenizer
    tasks = make_benchmarks(world, config)
    choices = {
        "facts": _facts(world, config),
        "two_hops": [_arc_choice(document) for document in tasks["world_arc"]],
        "tools": [_piqa_choice(document) for document in tasks["world_piqa"]],
        "truths": [_truth_choice(document) for document in tasks["world_truthful_mc"]],
    }
    values = {name: choice_accuracy(model, tokenizer, asked) for name, asked in choices.items()}
    pairs = [
        (f"{source} phrase: {document['translation'][source]}\n{target} phrase:", f" {document['translation'][target]}")
        for source, target in DIRECTIONS
        for document in tasks[f"world_{source}_{target}".lower()][: config.documents // 2]
    ]
    return values | {"translation": token_accuracy(model, tokenizer, pairs)}


def assert_thresholds(name: str, values: dict[str, float], thresholds: dict[str, float]) -> None:
    """Refuse a base model that learned too little.

    Raises:
        StageError: a check lies below its threshold; the line names model, check, value and threshold.
    """
    for check, least in thresholds.items():
        if values[check] < least:
            raise StageError(
                f"base model {name} of the embedded world reaches {values[check]:.2f} in {check}; {least:.2f} is needed"
            )


def choice_accuracy(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", choices: Sequence[Choice]) -> float:
    """Share of the choices whose true continuation is the most likely one."""
    pairs = [(context, continuation) for context, continuations in choices for continuation in continuations]
    likelihoods = [sum(scores) for scores, _ in _scores(model, tokenizer, pairs)]
    right = position = 0
    for _, continuations in choices:
        mine = likelihoods[position : position + len(continuations)]
        position += len(continuations)
        right += mine.index(max(mine)) == 0
    return right / len(choices)


def token_accuracy(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]]
) -> float:
    """Share of the continuations' tokens that are the most likely one, given what stands before them."""
    hits = [hit for _, hits in _scores(model, tokenizer, pairs) for hit in hits]
    return sum(hits) / len(hits)


def _scores(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]]
) -> list[tuple[list[float], list[bool]]]:
    """For each (context, continuation): log-likelihood of each continuation token, and whether it is the likeliest."""
    import torch

    encoded = [(tokenizer.encode(context), tokenizer.encode(continuation)) for context, continuation in pairs]
    results: list[tuple[list[float], list[bool]]] = []
    for start in range(0, len(encoded), BATCH):
        batch = encoded[start : start + BATCH]
        longest = max(len(context) + len(continuation) for context, continuation in batch)
        token_BT = torch.tensor(
            [
                context + continuation + [tokenizer.pad_token_id] * (longest - len(context) - len(continuation))
                for context, continuation in batch
            ]
        )
        with torch.inference_mode():
            likelihood_BTV = model(input_ids=token_BT).logits.float().log_softmax(-1)
        for row, (context, continuation) in enumerate(batch):
            place_N = range(len(context) - 1, len(context) + len(continuation) - 1)
            likelihoods = [
                likelihood_BTV[row, at, token].item() for at, token in zip(place_N, continuation, strict=True)
            ]
            likeliest = [int(likelihood_BTV[row, at].argmax()) for at in place_N]
            results.append((likelihoods, [a == b for a, b in zip(likeliest, continuation, strict=True)]))
    return results


def _facts(world: World, config: WorldConfig) -> list[Choice]:
    """Held-out people's and cities' facts, each to be told from three other values of the attribute."""
    rng = stream(config.seed, "checks")
    pools = {"city": [city.name for city in world.cities]}
    pools |= {name: words.split() for name, words in (PERSON_VALUES | CITY_VALUES).items()}
    choices = []
    for subject in world.subjects():
        if subject.in_training_split:
            continue
        for attribute, value in subject.attributes.items():
            others = rng.sample([other for other in pools[attribute] if other != value], CHOICES - 1)
            before, after = rng.choice(STATEMENTS[attribute]).split("{v}")
            context = f"{opening(rng, subject.name)} {before.format(s=subject.name)}".rstrip()
            choices.append((context, [f" {other}{after.format(s=subject.name)}" for other in (value, *others)]))
    return choices


def _arc_choice(document: Document) -> Choice:
    texts = document["choices"]["text"]
    answer = texts["ABCD".index(document["answerKey"])]
    return f"Question: {document['question']}\nAnswer:", [f" {text}" for text in [answer, *_without(texts, answer)]]


def _piqa_choice(document: Document) -> Choice:
    solutions = [document["sol1"], document["sol2"]]
    answer = solutions[document["label"]]
    return f"Question: {document['goal']}\nAnswer:", [f" {text}" for text in [answer, *_without(solutions, answer)]]


def _truth_choice(document: Document) -> Choice:
    targets = document["mc2_targets"]
    texts = targets["choices"]
    return f"Q: {document['question']}\nA:", [f" {text}" for text in [texts[0], *texts[2:]]]


def _without(texts: list[str], answer: str) -> list[str]:
    return [text for text in texts if text != answer]
