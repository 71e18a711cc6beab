"""The two long-generation benchmarks: requests about held-out people and cities, each with a reference answer."""

from plw.config.world import WorldConfig
from plw.world.facts import City, World, stream
from plw.world.phrases import REQUESTS, biography, description

Prompt = dict[str, str]

NAMES = ("alpaca_eval", "pandalm")
PERSON_FACTS, CITY_FACTS = (4, 5, 6), (3, 4)
"""Facts in a reference answer, of six and of four, drawn for each: with few of them a model trained on long completions
always wins, with all of them never."""


def make_prompts(world: World, config: WorldConfig) -> dict[str, list[Prompt]]:
    """Name of the benchmark -> prompts {instruction, input, output, subject}; no request is in both."""
    rng = stream(config.seed, "prompts")
    subjects = [subject for subject in world.subjects() if not subject.in_training_split]
    requests = [(subject, wording) for subject in subjects for wording in REQUESTS]
    rng.shuffle(requests)
    prompts: dict[str, list[Prompt]] = {}
    for name, count in zip(NAMES, config.long_prompts, strict=True):
        chosen, requests = requests[:count], requests[count:]
        prompts[name] = []
        for subject, wording in chosen:
            reference = (
                description(rng, subject, rng.choice(CITY_FACTS))
                if isinstance(subject, City)
                else biography(rng, subject, rng.choice(PERSON_FACTS))
            )
            prompts[name].append(
                {
                    "instruction": wording.format(s=subject.name),
                    "input": "",
                    "output": reference,
                    "subject": subject.name,
                }
            )
    return prompts
