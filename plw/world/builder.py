"""Build the embedded world: text, tokenizer, instruction sets, benchmarks, and the base models that know it."""

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.files.construction import under_construction
from plw.files.products import note_products
from plw.files.writing import write_json_atomic, write_jsonl_atomic
from plw.progress import Progress, no_progress
from plw.world.added import add_texts
from plw.world.base_model import PLAN, base_names
from plw.world.benchmarks import make_benchmarks
from plw.world.checks import assert_thresholds, measure_knowledge
from plw.world.corpus import CURRICULUM, MIX, Corpus
from plw.world.facts import World, facts_payload, make_world, stream
from plw.world.instructions import make_instructions
from plw.world.packaged import pack_bases, packaged_bases, unpack_bases
from plw.world.processes import run_parallel
from plw.world.prompts import make_prompts
from plw.world.store import WORLD_RECORD, folder, is_built, payload
from plw.world.tokenizer import TEMPLATE_WORDS, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER_DOCUMENTS = 20_000


def build(config: WorldConfig, root: Path, progress: Progress | None = None, *, always_verify: bool = False) -> Path:
    """The folder of the world, made if it is not there yet; a folder without its record is made again.

    Base models that travel with the package are taken from there, others are pretrained. `progress` counts optimizer
    steps of all base models together. The files of a world that is there are compared with what was built: once a
    process, or with `always_verify` each time.

    Raises:
        UserError: `root` cannot be written, or the folder holds another world or a changed file.
        StageError: a base model stopped, or knows less than `config.thresholds` asks.
    """
    final = folder(config, root)
    if is_built(final, config, always_verify=always_verify):
        add_texts(final, config, always_verify=always_verify)
        return final
    manifest = packaged_bases(config)
    with under_construction(final, WORLD_RECORD) as work:
        world = make_world(config)
        sizes = write_texts(work, world, config)
        if manifest is None:
            known = pretrain_bases(work, world, config, progress or no_progress)
        else:
            known = {name: manifest["checks"][name] for name in base_names(config)}
            unpack_bases(work, config, manifest)
        for name, values in known.items():
            assert_thresholds(name, values, config.thresholds)
        about = {"payload": payload(config), "checks": known, "sizes": sizes, "files": note_products(work)}
        write_json_atomic(work / WORLD_RECORD, about)
        add_texts(work, config)
    return final


def pretrain_bases(work: Path, world: World, config: WorldConfig, progress: Progress) -> dict[str, dict[str, float]]:
    """Write `tokenizer/` and `models/<name>/` of every base model; what each knows.

    Raises:
        StageError: a base model's process stopped.
    """
    make_tokenizer(world, config).save_pretrained(work / "tokenizer")
    write_json_atomic(work / PLAN, asdict(config))
    names = base_names(config)
    run_parallel(work, names, config.pretraining.steps, progress)
    (work / PLAN).unlink()
    return {name: measure_knowledge(work / "models" / name, world, config) for name in names}


def pretrain_to_package(config: WorldConfig, out: Path, progress: Progress) -> dict[str, Any]:
    """Pretrain every base model again and put what travels with the package in the place of `out`; its manifest.

    Raises:
        UserError: the folder of `out` cannot be written.
        StageError: a base model stopped, or knows less than `config.thresholds` asks.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise UserError(f"{out.parent}: cannot be written ({error.strerror})") from None
    try:
        known = pretrain_bases(scratch / "work", make_world(config), config, progress)
        for name, values in known.items():
            assert_thresholds(name, values, config.thresholds)
        manifest = pack_bases(scratch / "work", config, known, scratch / "new")
        if out.exists():
            out.rename(scratch / "old")
        (scratch / "new").rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


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
