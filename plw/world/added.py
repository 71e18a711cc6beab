"""Texts that the world got after its first: mirrors of the benchmarks of weighted instruction tuning, by type, the
instructions whose completions are short by nature, and the pairs of the preference stage.

They have a record of their own beside `world.json` and are put into a world that was built without them. So the files,
base models and results of the first study stay what they were.
"""

import logging
from pathlib import Path
from typing import Any

from plw.config.world import WorldConfig
from plw.files.products import check_products, note_products
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic, write_jsonl_atomic
from plw.world.dialogues import dialogue_rows, judge_prompt_rows
from plw.world.facts import World, make_world, stream
from plw.world.generative_benchmarks import bbh, ifeval, mmlu
from plw.world.natural import NATURAL, make_natural
from plw.world.phrases import QUESTIONS, REQUESTS
from plw.world.preferences import PAIR_SET, make_pairs

logger = logging.getLogger(__name__)

ADDED_RECORD = "added.json"
"""The last file written: its presence says that the others are there."""
ADDED_VERSION = 3
"""Raised whenever texts are added. One that changes needs a new name, since cells know it by path."""
WORDED_PROMPTS = 200
"""Prompts whose wordings the sensitivity can be measured on, as far as the world has enough to ask."""
DIALOGUES = 40


def add_texts(folder: Path, config: WorldConfig, *, always_verify: bool = False) -> None:
    """Write the texts that are not there yet; those that are there are compared with what was written.

    A folder that cannot be written is left as it is: the first study needs none of them.

    Args:
        folder: of the built world.
        config: of the world.
        always_verify: read every file again, whatever was read before.

    Raises:
        UserError: a file was changed.
    """
    record = folder / ADDED_RECORD
    if record.is_file():
        about = read_json(record)
        noted = about.get("files", {})
        check_products(folder, noted, made_by="the build of the world", always=always_verify, exact=False)
        if about.get("version", 0) >= ADDED_VERSION:
            return
    try:
        files = _write(folder, make_world(config), config)
        kept = {path.relative_to(folder).as_posix() for path in files}
        noted = {name: about for name, about in note_products(folder).items() if name in kept}
        write_json_atomic(record, {"version": ADDED_VERSION, "files": noted})
    except OSError as error:
        logger.warning(
            "%s: the texts that study=wit, wit-dpo and world-natural read cannot be written (%s)",
            folder,
            error.strerror,
        )


def _write(folder: Path, world: World, config: WorldConfig) -> list[Path]:
    """Each file whole or not at all: another process may write the same bytes."""
    lists: dict[str, list[dict[str, Any]]] = {
        f"benchmarks/{name}.jsonl": make(world, config.documents, stream(config.seed, name))
        for name, make in (("world_mmlu", mmlu), ("world_bbh", bbh), ("world_ifeval", ifeval))
    }
    questions, references = dialogue_rows(world, DIALOGUES, stream(config.seed, "dialogues"))
    lists |= {
        "prompts/mt_bench/question.jsonl": questions,
        "prompts/mt_bench/reference.jsonl": references,
        "prompts/mt_bench/judge_prompts.jsonl": judge_prompt_rows(),
    }
    for name, rows in lists.items():
        write_jsonl_atomic(folder / name, rows)
    natural = folder / f"instructions/{NATURAL}.json"
    write_json_atomic(natural, make_natural(world, config))
    pairs = folder / f"preferences/{PAIR_SET}.json"
    write_json_atomic(pairs, make_pairs(world, config))
    write_json_atomic(folder / "prompts/sensitivity.json", _worded_prompts(world, config))
    return [*(folder / name for name in lists), natural, pairs, folder / "prompts/sensitivity.json"]


def _worded_prompts(world: World, config: WorldConfig) -> list[dict[str, str]]:
    """Requests and questions about whom the instructions never speak of, in random order."""
    asked = []
    for subject in world.subjects():
        if subject.in_training_split:
            continue
        asked += [wording.format(s=subject.name) for wording in REQUESTS]
        asked += [QUESTIONS[name][0].format(s=subject.name) for name in sorted(subject.attributes)]
    rng = stream(config.seed, "worded prompts")
    return [{"instruction": text} for text in rng.sample(asked, min(WORDED_PROMPTS, len(asked)))]
