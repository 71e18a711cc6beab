"""MT-Bench in the stages `generate` and `judge`: answers turn after turn, then a grade of each."""

from typing import TYPE_CHECKING, Any

from plw.config.evaluation import MT_BENCH
from plw.data.render import Renderer
from plw.evaluate.models.protocol import LENGTH_METRICS
from plw.results.items import ItemRow, document_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plw.evaluate.judging.mt_bench import Grading
    from plw.evaluate.judging.mt_bench_files import Question
    from plw.evaluate.judging.response_cache import ResponseCache
    from plw.evaluate.models.protocol import Generation
    from plw.pipeline.context import CellContext, CheckLease

PERCENT_OF_SCORE = 10.0
"""A score from 1 to 10 on the scale of the headline metric."""


def answer_dialogues(
    context: "CellContext", benchmark: str, check_lease: "CheckLease"
) -> tuple[list[dict[str, Any]], list[ItemRow]]:
    """The model's answers to both turns, the second with its own first one in sight: rows for the file, and items."""
    config = context.config
    renderer, decoding = Renderer(config.template, context.tokenizer), config.suite.decoding
    questions = context.questions(benchmark)
    answers: list[list[Generation]] = [[] for _ in questions]
    for turn in range(max(len(question.turns) for question in questions)):
        asked = [place for place, question in enumerate(questions) if len(question.turns) > turn]
        texts = [
            renderer.dialogue(
                questions[place].turns[: turn + 1],
                [answer.text for answer in answers[place]],
                config.dataset.format,
            )
            for place in asked
        ]
        made = context.eval_model.answer(
            texts,
            max_new_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            seed=decoding.seed + turn,
            batch_size=config.suite.batch_size,
            progress=context.progress_for("generate", check_lease),
            before_words=renderer.before_words,
        )
        for place, answer in zip(asked, made, strict=True):
            answers[place].append(answer)
    rows = [
        {
            "question_id": question.id,
            "category": question.category,
            "turns": list(question.turns),
            "output": [answer.text for answer in of_question],
            "tokens": [answer.tokens for answer in of_question],
            "finished": [answer.finished for answer in of_question],
            "prompt_tokens_cut": [answer.prompt_tokens_cut for answer in of_question],
        }
        for question, of_question in zip(questions, answers, strict=True)
    ]
    return rows, _answer_items(benchmark, questions, answers)


def grade_answers(
    context: "CellContext", benchmark: str, replies: "ResponseCache", check_lease: "CheckLease"
) -> "tuple[Grading, list[dict[str, Any]], list[ItemRow]]":
    """The judge's grade of every turn: rows for the file, and items.

    Raises:
        StageError: the judge's server fails, or (``UnreadableError``) too many scores cannot be read.
    """
    from plw.evaluate.judging.mt_bench_files import Dialogue, GradingPrompts

    questions = context.questions(benchmark)
    dialogues = [
        Dialogue(
            category=question.category,
            turns=question.turns,
            answers=tuple(row["output"]),
            reference=question.reference,
            where=f"suite.prompts.{benchmark}, row {number}",
        )
        for number, (question, row) in enumerate(zip(questions, context.answers(benchmark), strict=True), start=1)
    ]
    grading = context.judge.grade(
        dialogues,
        prompts=GradingPrompts.load(context.cell.grading[benchmark]["judge_prompts"].path),
        replies=replies,
        progress=context.progress_for("judge", check_lease),
    )
    verdicts = [
        {"question_id": questions[grade.question].id, "turn": grade.turn, "score": grade.score, "reply": grade.reply}
        for grade in grading.grades
    ]
    items = [
        ItemRow(
            **_names(benchmark, questions[grade.question], number, grade.turn),
            metric=MT_BENCH,
            headline=True,
            value=None if grade.score is None else PERCENT_OF_SCORE * grade.score,
            higher_is_better=True,
        )
        for number, grade in enumerate(grading.grades)
    ]
    return grading, verdicts, items


def _answer_items(
    benchmark: str, questions: "Sequence[Question]", answers: "Sequence[Sequence[Generation]]"
) -> list[ItemRow]:
    """Tokens and words of each answer, and whether the model ended it."""
    turns = [
        (question, turn, answer)
        for question, of_question in zip(questions, answers, strict=True)
        for turn, answer in enumerate(of_question, start=1)
    ]
    rows = []
    for number, (question, turn, answer) in enumerate(turns):
        names = _names(benchmark, question, number, turn)
        rows += [ItemRow(**names, metric=metric, value=measure(answer)) for metric, measure in LENGTH_METRICS.items()]
    return rows


def _names(benchmark: str, question: "Question", number: int, turn: int) -> dict[str, Any]:
    """What names the item of a turn; the turns of a question are a cluster."""
    return {
        "benchmark": benchmark,
        "task": MT_BENCH,
        "item": number,
        "item_hash": document_hash({"turns": list(question.turns), "turn": turn}),
        "cluster": f"{MT_BENCH}:{question.id}",
    }
