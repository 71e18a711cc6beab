"""Every command that README, a page or an example shows is one: its options exist, and its words make a config."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from plw import cli
from plw.config.compose import one_line_errors, register_schema, typed
from plw.errors import UserError
from plw.paths import conf_folder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.sh"))]
COMMAND = re.compile(r"^(?:    |)(?:[A-Z_]+=\S+ )*plw ((?:[^\n\\]|\\\n)+)$", re.MULTILINE)
SCRIPT = re.compile(r"(?:python|bin/python) ((?:scripts|examples)/\S+\.py)((?:[^\n\\`]|\\\n)*)")
GAP = "..."
"""Stands for words that the reader has."""
OF_A_STUDY = ("run", "plan", "status", "drain", "report", "publish")
"""Commands whose words are overrides of Hydra; the others take some after their arguments."""
PLACEHOLDERS = {
    "suite.data=FOLDER": "", "HOST:PORT": "HOST:8000", "$GPUS": "2", "$JUDGE": "http://HOST:8000/v1",
}  # fmt: skip
OF_HYDRA = ("-m", "--config-dir", "--help")


def shown() -> Iterator[tuple[str, list[str]]]:
    """Page and words of each command without its comment; what may be left out is there without its brackets."""
    for page in PAGES:
        for found in COMMAND.findall(page.read_text(encoding="utf-8")):
            text = found.replace("\\\n", " ")
            if re.search(r" \[", text):
                text = re.sub(r"[][]| \|", "", text)
            yield page.relative_to(ROOT).as_posix(), shlex.split(text, comments=True)


COMMANDS = list(shown())
IDS = [f"{page}: plw {' '.join(words)}" for page, words in COMMANDS]


@cache
def command_line() -> Any:
    """All commands; making them of their functions takes a while."""
    return typer.main.get_command(cli.app)


def of_click(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """The command and what follows its name."""
    command = command_line()
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"no command {rest[0]}; there are {', '.join(command.commands)}"
        command = command.commands[rest.pop(0)]
    return command, rest


def overrides(words: list[str]) -> list[str]:
    """The words that are fields, without those that only say that fields may follow."""
    return [word for word in words if re.match(r"[+~]*[a-z][\w./]*=", word) and not word.endswith(GAP)]


def filled(word: str) -> str:
    """A field with something in place of what only the reader has."""
    for place, value in PLACEHOLDERS.items():
        word = word.replace(place, value)
    return word


def jobs(words: list[str]) -> list[list[str]]:
    """Words of single jobs in which each choice of each group is used once at least, and the first value of a field."""
    parser = OverridesParser.create()
    values = [_values(parser.parse_override(word), word) for word in words]
    return [[of_word[min(job, len(of_word) - 1)] for of_word in values] for job in range(max(map(len, values)))]


def _values(override: Override, word: str) -> list[str]:
    if not override.is_sweep_override():
        return [word]
    name = word.partition("=")[0]
    values = [f"{name}={value}" for value in override.sweep_string_iterator()]
    return values[:1] if "." in name else values


def configs() -> dict[str, tuple[list[str], bool, bool]]:
    """Each different set of words once: the words, whether they are a sweep, whether some are left to the reader."""
    found = {}
    for _, words in COMMANDS:
        given = [word for word in map(filled, overrides(words)) if word]
        # Two names of weights are no config, and a folder of further groups is the reader's.
        if given and words[0] != "compare" and "--config-dir" not in words:
            sweep = "-m" in words or words[0] == "plan"
            partly = words[0] == "tune" or any(word.endswith(GAP) for word in words)
            found[" ".join([*given, *["-m"] * sweep, *[GAP] * partly])] = (given, sweep, partly)
    return found


def test_there_are_commands_of_every_kind() -> None:
    assert len(COMMANDS) > 100
    assert {words[0] for _, words in COMMANDS} >= {*OF_A_STUDY, "tune", "compare", "fit", "registry", "items", "world"}


def scripts() -> set[tuple[str, str]]:
    """(Script, option) of each that a page shows; one without options has an empty one."""
    texts = [page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"]]
    called = [found for text in texts for found in SCRIPT.findall(text)]
    assert len(called) > 20
    return {(script, option) for script, rest in called for option in re.findall(r"(?<![\w-])--[a-z-]+", rest) or [""]}


@pytest.mark.parametrize(("script", "option"), sorted(scripts()))
def test_the_script_has_the_option(script: str, option: str) -> None:
    source = (ROOT / script).read_text(encoding="utf-8")
    of_argparse, of_typer = f'"{option}"', f"{option[2:].replace('-', '_')}: "
    assert not option or of_argparse in source or of_typer in source


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=IDS)
def test_the_command_and_its_options_exist(words: list[str]) -> None:
    command, rest = of_click(words)
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-"):
            assert word in options or (words[0] in ("run", "plan") and word in OF_HYDRA), f"no option {word}"


@pytest.mark.parametrize(("given", "sweep", "partly"), configs().values(), ids=configs())
def test_the_words_make_configs(given: list[str], sweep: bool, partly: bool) -> None:
    rewritten = register_schema(given, sweep=sweep)
    for job in jobs(rewritten):
        with initialize_config_dir(str(conf_folder()), version_base="1.3"), one_line_errors():
            config = compose("config", overrides=job)
        try:
            typed(config)
        except UserError as error:
            if not partly or "is missing; give it on the command line" not in str(error):
                raise
