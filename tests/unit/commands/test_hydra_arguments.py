"""Options may stand anywhere among the overrides; one that Hydra lacks is told with what serves instead."""

import pytest

from plw.commands.hydra_arguments import option_value, options_first
from plw.errors import UserError

OVERRIDES = ["study=plw", "loss.prompt_weight=0,1", "~tracker", "+suite.limit=-1"]


@pytest.mark.parametrize("place", range(len(OVERRIDES) + 1))
@pytest.mark.parametrize("option", [["-m"], ["--multirun"], ["--config-dir", "my=folder"], ["--config-dir=here"]])
def test_options_come_first_and_the_overrides_keep_their_order(place: int, option: list[str]) -> None:
    assert options_first([*OVERRIDES[:place], *option, *OVERRIDES[place:]]) == (option, OVERRIDES)


@pytest.mark.parametrize(
    ("word", "instead"), [("--dry-run", "plw plan"), ("--prompt-weight=1", "prompt_weight=VALUE"), ("-x", "--multirun")]
)
def test_what_is_no_option_is_told_with_what_is(word: str, instead: str) -> None:
    with pytest.raises(UserError) as caught:
        options_first([*OVERRIDES, word])
    assert word.partition("=")[0] in str(caught.value)
    assert instead in str(caught.value)


def test_an_options_value_is_found_in_either_form() -> None:
    assert option_value(["-m", "--config-dir", "a=b"], "--config-dir", "-cd") == "a=b"
    assert option_value(["--config-dir=a=b", "-m"], "--config-dir", "-cd") == "a=b"
    assert option_value(["-m"], "--config-dir", "-cd") is None


def test_an_option_without_its_value_is_told() -> None:
    with pytest.raises(UserError, match=r"--config-dir needs a value"):
        options_first([*OVERRIDES, "--config-dir"])
