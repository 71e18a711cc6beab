"""What the `world_*` tasks need beyond YAML: WinoGrande's partial scoring, TruthfulQA's metrics, free answers."""

import math
import re
from collections.abc import Callable
from typing import Any

import sacrebleu


def answer_index(doc: dict[str, Any]) -> int:
    """Index of the right option; lm-eval asks for it as the text where contexts and not endings differ."""
    return int(doc["answer"]) - 1


def filled_prefixes(doc: dict[str, Any]) -> list[str]:
    """The sentence up to the blank, with each option in it."""
    prefix, _ = doc["sentence"].split("_")
    return [prefix + doc["option1"], prefix + doc["option2"]]


def after_blank(doc: dict[str, Any]) -> str:
    """The rest of the sentence, whose likelihood is compared."""
    _, rest = doc["sentence"].split("_")
    return str(rest.strip())


def true_probability(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Share of the choices' probability that lies on the true ones (TruthfulQA MC2)."""
    likelihoods = [likelihood for likelihood, _ in results]
    highest = max(likelihoods)
    weights = [math.exp(likelihood - highest) for likelihood in likelihoods]
    true = sum(weight for weight, label in zip(weights, doc["mc2_targets"]["labels"], strict=True) if label)
    return {"acc": true / sum(weights)}


def closer_to_truth(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Best BLEU against the true references, its lead over the false ones, and whether it leads (TruthfulQA-Gen)."""
    answer = results[0].strip()
    true = max(_bleu(answer, reference) for reference in doc["correct_answers"])
    false = max(_bleu(answer, reference) for reference in doc["incorrect_answers"])
    return {"bleu_acc": float(true > false), "bleu_max": true, "bleu_diff": true - false}


def _bleu(answer: str, reference: str) -> float:
    """Sentence BLEU in the settings that the original task uses."""
    return sacrebleu.corpus_bleu(
        [answer], [[reference]], smooth_method="exp", smooth_value=0.0, tokenize="intl", use_effective_order=False
    ).score


def first_named(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the first of the choices that the answer names, as a whole word, is the right one."""
    words = "|".join(re.escape(choice) for choice in sorted(doc["choices"], key=len, reverse=True))
    named = re.search(rf"(?<!\w)(?:{words})(?!\w)", results[0], re.IGNORECASE)
    return {"exact_match": float(named is not None and named.group().lower() == doc["answer"].lower())}


def instructions_followed(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """IFEval's strict accuracies: whether all instructions of the prompt are followed, and each of them."""
    pairs = zip(doc["instruction_id_list"], doc["kwargs"], strict=True)
    followed = [bool(results[0].strip()) and _CHECKS[name](results[0], fields) for name, fields in pairs]
    return {"prompt_level_strict_acc": all(followed), "inst_level_strict_acc": followed}


def mean_over_instructions(items: list[list[bool]]) -> float:
    """The share of all prompts' instructions that are followed."""
    flat = [followed for item in items for followed in item]
    return sum(flat) / len(flat)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"[.!?]+", text) if part.strip()]


def _has(text: str, fields: dict[str, Any]) -> bool:
    return str(fields["word"]).lower() in _words(text)


_CHECKS: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "length:at_least": lambda text, fields: len(_words(text)) >= fields["words"],
    "length:at_most": lambda text, fields: len(_words(text)) <= fields["words"],
    "length:sentences": lambda text, fields: len(_sentences(text)) >= fields["sentences"],
    "keywords:mention": _has,
    "keywords:avoid": lambda text, fields: not _has(text, fields),
    "start:name": lambda text, fields: _has((_sentences(text) or [""])[0], fields),
}
