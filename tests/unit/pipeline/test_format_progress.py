"""The line that a person sees while a cell trains."""

from typing import Any

from plw.pipeline.stage_functions import format_progress

ROW: dict[str, Any] = {
    "loss": 0.5,
    "prompt_loss": None,
    "completion_loss": 1.25,
    "held_out_completion_loss": None,
    "tokens_per_second": 3390.2,
    "mfu": None,
    "peak_memory_gib": None,
}


def test_it_says_what_there_is() -> None:
    assert format_progress(ROW) == "loss 0.500 (completion 1.250), 3,390 tok/s"
    more = {"prompt_loss": 2.0, "held_out_completion_loss": 1.5, "mfu": 0.514, "peak_memory_gib": 61.27}
    expected = "loss 0.500 (prompt 2.000, completion 1.250), 3,390 tok/s, held-out 1.500, MFU 51%, 61.3 GiB"
    assert format_progress(ROW | more) == expected
