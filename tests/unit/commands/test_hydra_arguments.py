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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cfg", "nothing"], r"--cfg nothing is not known; allowed: job, hydra, all"),
        (["-c=nothing"], r"-c nothing is not known; allowed: job, hydra, all"),
        (["--cfg"], r"--cfg needs a value, such as --cfg job"),
        (["--config-dir="], r"--config-dir needs a value, such as --config-dir FOLDER"),
        (["--info=nothing"], r"--info=nothing: allowed: all, config"),
        (["--multirun=yes"], r"--multirun=yes: it takes no value"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_one_line(words: list[str], told: str) -> None:
    """Hydra's parser would print its usage."""
    with pytest.raises(UserError, match=told):
        options_first([*OVERRIDES, *words])


@pytest.mark.parametrize("words", [["--cfg", "job"], ["--cfg=all"], ["--info"], ["--info=plugins"], ["-c", "hydra"]])
def test_a_value_that_an_option_takes_is_passed_on(words: list[str]) -> None:
    assert options_first([*OVERRIDES, *words]) == (words, OVERRIDES)
