"""``predict`` on data that the trainer has not seen: the loss is an evaluation's, of the same prompts."""

from pathlib import Path
from typing import Any

import pytest

from plw.errors import UserError
from plw.integrations import PromptWeightedSFTTrainer, PromptWeightedTrainer
from tests.unit.integrations.test_plain_values import ROWS, arguments, llama, padded, table, unweighted

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

TEXTS = [{"prompt": "Say it.", "completion": " It is said."}, {"prompt": "And", "completion": " so on and on."}]


def trainer(kind: str, tokenizer: Any, folder: Path, *, train: Any, **fields: Any) -> Any:
    return (PromptWeightedTrainer if kind == "trainer" else PromptWeightedSFTTrainer)(
        llama(),
        train_dataset=train,
        processing_class=tokenizer,
        prompt_weight=0.3,
        **arguments(kind, folder, per_device_eval_batch_size=4, **fields),
    )


@pytest.mark.parametrize(
    ("kind", "form", "fields"),
    [
        ("trainer", "masks", {}),
        ("sft", "masks", {}),
        ("sft", "texts", {}),
        ("sft", "padding", {}),
        ("sft", "texts", {"padding_free": True}),
        ("sft", "texts", {"packing": True, "max_length": 64}),
    ],
)
def test_a_prediction_has_the_loss_of_an_evaluation(
    kind: str, form: str, fields: dict[str, Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    rows = [padded(row, 2, 1) for row in ROWS]
    data = {"masks": unweighted(ROWS), "texts": table(TEXTS), "padding": unweighted(rows)}[form]
    made = trainer(kind, tiny_tokenizer, tmp_path, train=data, **fields)
    evaluated = made.evaluate(data)["eval_loss"]
    assert made.predict(data).metrics["test_loss"] == pytest.approx(evaluated, rel=1e-6)


@pytest.mark.parametrize("kind", ["trainer", "sft"])
def test_a_prediction_of_data_that_do_not_tell_the_prompt_is_refused(
    kind: str, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    made = trainer(kind, tiny_tokenizer, tmp_path, train=unweighted(ROWS))
    with pytest.raises(UserError, match=r"columns found: input_ids|fields found: input_ids"):
        made.predict(unweighted(ROWS).remove_columns("completion_mask"))
