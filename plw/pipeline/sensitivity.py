"""The part of the stage `diagnose` that measures prompt sensitivity; leaves psi of each prompt as items."""

from typing import TYPE_CHECKING

from plw.data.render import Renderer
from plw.results.items import ITEMS, ItemRow, document_hash, write_items

if TYPE_CHECKING:
    from plw.pipeline.context import CellContext, CheckLease
    from plw.results.score import Score


def measure_wordings(context: "CellContext", check_lease: "CheckLease") -> "list[Score]":
    """POSIX of the suite's prompts, over the wordings that the suite asks for.

    Raises:
        UserError: a prompt file that cannot be read, or a prompt of which there is one wording alone.
    """
    from plw.evaluate.sensitivity.measure import POSIX, PROMPT_SENSITIVITY, measure_sensitivity, sensitivity_scores

    config, asked = context.config, context.config.suite.sensitivity
    assert asked is not None
    wordings = context.wordings()
    renderer, form = Renderer(config.template, context.tokenizer), config.dataset.format
    found = measure_sensitivity(
        context.loaded,
        [[renderer.request(text, given, form) for text in texts] for texts, given in wordings],
        max_new_tokens=asked.max_new_tokens,
        batch_size=config.suite.batch_size,
        progress=context.progress_for("diagnose", check_lease),
    )
    items = [
        ItemRow(
            benchmark=PROMPT_SENSITIVITY,
            task=POSIX,
            item=number,
            item_hash=document_hash({"instruction": texts[0], "input": given}),
            metric=POSIX,
            value=item.psi,
            higher_is_better=False,
        )
        for number, ((texts, given), item) in enumerate(zip(wordings, found, strict=True))
    ]
    check_lease()
    write_items(context.output("diagnose") / ITEMS, items)
    return sensitivity_scores(found, asked, config.suite.name)
