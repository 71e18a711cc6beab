"""Build the embedded world: text, tokenizer, instruction sets, benchmarks, and the base models that know it."""

import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plw.config.world import WorldConfig
from plw.files import write_json_atomic, write_jsonl_atomic
from plw.products import note_products
from plw.progress import Progress, no_progress
from plw.world.benchmarks import make_benchmarks
from plw.world.checks import assert_thresholds, measure_knowledge
from plw.world.corpus import CURRICULUM, MIX, Corpus
from plw.world.facts import World, facts_payload, make_world, stream
from plw.world.instructions import make_instructions
from plw.world.packing import pack
from plw.world.processes import run_parallel
from plw.world.prompts import make_prompts
from plw.world.store import WORLD_RECORD, folder, is_built, payload, under_construction
from plw.world.tokenizer import TEMPLATE_WORDS, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MODELS = ("wide", "deep")
TOKENIZER_DOCUMENTS = 20_000
DOCUMENTS_AT_ONCE = 2_000


def build(config: WorldConfig, root: Path, progress: Progress | None = None, *, always_verify: bool = False) -> Path:
    """The folder of the world, made if it is not there yet; a folder without its record is made again.

    `progress` counts optimizer steps of both base models together. The files of a world that is there are compared with
    what was built: once a process, or with `always_verify` each time.

    Raises:
        UserError: `root` cannot be written, or the folder holds another world or a changed file.
        StageError: a base model stopped, or knows less than `config.thresholds` asks.
    """
    final = folder(config, root)
    if is_built(final, config, always_verify=always_verify):
        return final
    with under_construction(final) as work:
        world = make_world(config)
        sizes = write_texts(work, world, config)
        tokenizer = make_tokenizer(world, config)
        tokenizer.save_pretrained(work / "tokenizer")
        write_pretraining(work, world, config, tokenizer)
        run_parallel(work, MODELS, config.pretraining.steps, progress or no_progress)
        known = {name: measure_knowledge(work / "models" / name, world, config) for name in MODELS}
        for name in MODELS:
            assert_thresholds(name, known[name], config.thresholds)
        for scratch in ("rows.npy", "pretraining.json"):
            (work / scratch).unlink()
        about = {"payload": payload(config), "checks": known, "sizes": sizes, "files": note_products(work)}
        write_json_atomic(work / WORLD_RECORD, about)
    return final


def write_texts(work: Path, world: World, config: WorldConfig) -> dict[str, int]:
    """Write facts, instruction sets, benchmarks and prompts; the number of items in each file."""
    sizes = {}
    write_json_atomic(work / "facts.json", facts_payload(world))
    for name, records in make_instructions(world, config).items():
        write_json_atomic(work / "instructions" / f"{name}.json", records)
        sizes[f"instructions/{name}"] = len(records)
    for name, documents in make_benchmarks(world, config).items():
        write_jsonl_atomic(work / "benchmarks" / f"{name}.jsonl", documents)
        sizes[f"benchmarks/{name}"] = len(documents)
    for name, prompts in make_prompts(world, config).items():
        write_json_atomic(work / "prompts" / f"{name}.json", prompts)
        sizes[f"prompts/{name}"] = len(prompts)
    return sizes


def make_tokenizer(world: World, config: WorldConfig) -> "PreTrainedTokenizerFast":
    """The tokenizer trained on the corpus, the instruction sets and the words of the templates."""
    corpus = Corpus(world)
    rng = stream(config.seed, "tokenizer")
    texts = corpus.mixture(CURRICULUM | MIX, TOKENIZER_DOCUMENTS, rng)
    for records in make_instructions(world, config).values():
        texts += [value for record in records for value in record.values()]
    return train_tokenizer(texts + TEMPLATE_WORDS, config.vocabulary)


def write_pretraining(work: Path, world: World, config: WorldConfig, tokenizer: "PreTrainedTokenizerFast") -> None:
    """Write the packed rows in the order of training and the plan that goes with them."""
    plan = config.pretraining
    corpus = Corpus(world)
    rng = stream(config.seed, "corpus")
    easy = round(plan.curriculum * plan.steps)
    parts = []
    for weights, steps in ((CURRICULUM, easy), (MIX, plan.steps - easy)):
        documents = _documents(corpus, weights, rng, tokenizer)
        parts.append(pack(documents, steps * plan.rows, plan.row_tokens, tokenizer.pad_token_id))
    np.save(work / "rows.npy", np.concatenate(parts), allow_pickle=False)
    models: dict[str, Any] = {"wide": asdict(config.wide), "deep": asdict(config.deep)}
    write_json_atomic(work / "pretraining.json", asdict(plan) | {"seed": config.seed, "models": models})


def _documents(
    corpus: Corpus, weights: dict[str, int], rng: random.Random, tokenizer: "PreTrainedTokenizerFast"
) -> Iterator[list[int]]:
    """Tokens of one document after another, without end; each closes with the token that ends documents."""
    while True:
        for tokens in tokenizer(corpus.mixture(weights, DOCUMENTS_AT_ONCE, rng))["input_ids"]:
            yield [*tokens, tokenizer.eos_token_id]
