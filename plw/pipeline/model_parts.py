"""The parts of stages in which the trained model works: in one process, or in several that share out its batches.

Every process runs the same code on the same inputs; the model alone computes a share of the batches and receives the
others' results. So all have the same scores, those of one process to the last digit; files are written by each into
its own folder.
"""

from collections.abc import Callable
from dataclasses import asdict
from itertools import islice

from plw.config.evaluation import ALPACA_EVAL, MT_BENCH, REFERENCE
from plw.data.prompts import PromptRecord
from plw.data.render import Renderer
from plw.evaluate.models.protocol import Generation
from plw.files.writing import write_json_atomic
from plw.pipeline.context import CellContext, CheckLease
from plw.pipeline.dialogues import answer_dialogues
from plw.pipeline.prompt_items import answer_items, reference_overlap
from plw.pipeline.sensitivity import measure_wordings
from plw.results.items import ITEMS, ItemRow, write_items
from plw.results.score import Score


def question_model(context: CellContext, check_lease: CheckLease) -> list[Score]:
    """What `diagnose` asks the model: memorisation, and prompt sensitivity where the suite wants it."""
    from plw.evaluate.diagnostics.measurements import memorisation

    suite = context.config.suite
    renderer = Renderer(context.config.template, context.tokenizer)
    texts = [renderer.segments(record) for record in context.data.records]
    scores = memorisation(
        context.loaded,
        [segments[0].text for segments in texts],
        [renderer.words(segments[1]) for segments in texts],
        suite.diagnostics,
        suite=suite.name,
        seed=context.config.seed,
        batch_size=suite.batch_size,
        progress=context.progress_for("diagnose", check_lease),
        before_words=renderer.before_words,
    )
    if suite.sensitivity is not None:
        scores += measure_wordings(context, check_lease)
    return scores


def answer_prompts(context: CellContext, check_lease: CheckLease) -> list[Score]:
    """Answers to the long-generation prompts, their items, and scores of what needs no judge."""
    from plw.evaluate.diagnostics.measurements import generation_length

    suite, output = context.config.suite, context.output("generate")
    scores: list[Score] = []
    items: list[ItemRow] = []
    answered_of = _answered(context, check_lease)
    at_length = [name for name, item in suite.prompts.items() if item.protocol == ALPACA_EVAL]
    if at_length:
        scores += generation_length([answer for name in at_length for answer in answered_of[name][1]], suite.name)
    for name, item in suite.prompts.items():
        if item.protocol == MT_BENCH:
            answered, items_of = answer_dialogues(context, name, check_lease)
            check_lease()
            write_json_atomic(output / f"{name}.json", answered)
            items += items_of
            continue
        prompts, answers = answered_of[name]
        if item.protocol == REFERENCE:
            found, items_of = reference_overlap(name, suite.name, prompts, context.references(name), answers)
            scores.append(found)
            items += items_of
        rows = [
            {**prompt.identity, "output": answer.text}
            | {name: value for name, value in asdict(answer).items() if name != "text"}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        check_lease()
        write_json_atomic(output / f"{name}.json", rows)
        items += answer_items(name, item.protocol, prompts, answers)
    check_lease()
    write_items(output / ITEMS, items)
    return scores


def _answered(context: CellContext, check_lease: CheckLease) -> dict[str, tuple[list[PromptRecord], list[Generation]]]:
    """By set, its prompts and their answers.

    All sets are answered at once, for each batch takes as long as its longest answer.
    """
    suite = context.config.suite
    renderer, form = Renderer(context.config.template, context.tokenizer), context.config.dataset.format
    sets = {name: context.prompts(name) for name, item in suite.prompts.items() if item.protocol != MT_BENCH}
    if not sets:
        return {}
    asked = [prompt for prompts in sets.values() for prompt in prompts]
    answers = iter(
        context.eval_model.answer(
            [renderer.request(prompt.instruction, prompt.input, form, prompt.system) for prompt in asked],
            max_new_tokens=suite.decoding.max_new_tokens,
            temperature=suite.decoding.temperature,
            top_p=suite.decoding.top_p,
            seed=suite.decoding.seed,
            streams=[number for prompts in sets.values() for number in range(len(prompts))],
            batch_size=suite.batch_size,
            progress=context.progress_for("generate", check_lease),
            before_words=renderer.before_words,
        )
    )
    return {name: (prompts, list(islice(answers, len(prompts)))) for name, prompts in sets.items()}


MODEL_PARTS: dict[str, Callable[[CellContext, CheckLease], list[Score]]] = {
    "diagnose": question_model,
    "generate": answer_prompts,
}
"""Kind of stage -> its part."""
