"""What a judge needs, looked at before the first cell: files, weights, and the server."""

from plw.config.evaluation import MT_BENCH
from plw.data.inputs import in_world
from plw.data.prompts import load_answers, load_prompts, opponent_wanted, reference_answers
from plw.errors import UserError
from plw.pipeline.cell import Cell
from plw.pipeline.judge_cache import check_world_judge, missing_endpoint


def check_judge(cell: Cell) -> None:
    """The judge has an address, and its opponents have answered the prompts.

    Raises:
        UserError: it has none, it does not know the prompts, or a file of prompts, references or opponents is wrong.
    """
    judge = cell.config.judge
    if "judge" not in cell.config.stages or not cell.config.judged:
        return
    if judge.kind == "openai" and judge.endpoint is None:
        raise UserError(missing_endpoint(judge.name))
    if judge.kind == "world":
        check_world_judge(cell.config)
    if judge.reasoning and any(item.protocol == "alpaca_eval" for item in cell.config.judged.values()):
        from plw.evaluate.judging.evaluator_folder import check_reasoning

        check_reasoning(judge.evaluator)
    for name, item in cell.config.judged.items():
        if item.protocol == MT_BENCH:
            _check_grading(cell, name)
        elif not in_world(item.prompts):
            prompts = load_prompts(cell.prompts[name].path)[: item.limit]
            if name in cell.opponents:
                load_answers(cell.opponents[name].path, prompts)
            else:
                reference_answers(prompts, cell.prompts[name].path, opponent_wanted(name))


def _check_grading(cell: Cell, benchmark: str) -> None:
    """The questions have the references that they are graded beside, and the judge has its prompts."""
    item = cell.config.suite.prompts[benchmark]
    if any(in_world(path) for path in (item.prompts, item.judge_prompts, item.references) if path is not None):
        return
    from plw.evaluate.judging.mt_bench_files import GradingPrompts, load_questions

    files = {field: found.path for field, found in cell.grading[benchmark].items()}
    load_questions(cell.prompts[benchmark].path, files.get("references"))
    GradingPrompts.load(files["judge_prompts"])


def hub_judge(cell: Cell) -> bool:
    """Whether a judge's weights are the hub's, and are to be used."""
    return cell.is_left("judge") and cell.judge_weights is not None and not cell.judge_weights.path.is_dir()


def check_judge_weights(cells: list[Cell]) -> None:
    """Each judge's weights can be had, have a tokenizer, and leave room for a prompt before a verdict.

    Of weights on the hub the config and the tokenizer are fetched, and nothing else.

    Raises:
        UserError: one of the three is not so.
    """
    asked = {
        (cell.judge_weights.location, cell.config.judge.revision, cell.config.judge.max_tokens): cell.config.judge
        for cell in cells
        if cell.is_left("judge") and cell.judge_weights is not None
    }
    for (location, _, _), judge in asked.items():
        from plw.evaluate.judging.local_judge import check_local_judge

        check_local_judge(judge, location)


def ask_judges(cells: list[Cell]) -> None:
    """Every judge behind an address answers, takes the key and has the model.

    Raises:
        UserError: one does not.
    """
    from plw.evaluate.judging.client import check_server

    asked = [
        cell.config.judge
        for cell in cells
        if "judge" in cell.config.stages and cell.config.judged and cell.config.judge.kind == "openai"
    ]
    for judge in {(judge.endpoint, judge.model, judge.key_variable): judge for judge in asked}.values():
        check_server(judge, str(judge.endpoint))
