"""The command line itself: a mistake in its words is one line that says where to read on."""

import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import pytest
import typer

from plw import __version__, cli
from plw.commands.output_file import output_file


@pytest.fixture
def call(monkeypatch, capsys):
    """Call ``plw``; returns exit code, screen and errors."""

    def run(*words: str):
        monkeypatch.setattr(sys, "argv", ["plw", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        told = capsys.readouterr()
        return stopped.value.code or 0, told.out, told.err

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "plw: No such command 'nosuch'; see plw --help"),
        (["registry", "nosuch"], "plw: No such command 'nosuch'; see plw registry --help"),
        (["tune"], "plw: Missing argument 'MODEL'; see plw tune --help"),
        (["tune", "a", "b", "--budget", "x"], "plw: Invalid value for '--budget': "),
        (["tune", "a", "b", "--budgt", "3"], "plw: No such option: --budgt"),
        (["report", "--published", "nosuch"], "plw: Invalid value for '--published': 'nosuch' is not one of 'wit'"),
        (["tune", "--json"], "plw: Option '--json' requires an argument"),
        (["run", "--cfg", "job", "-p", "nosuch"], "plw: --package nosuch: the config has no such part"),
        (["plan", "hydra.sweeper.max_batch_size=x"], "plw: hydra.sweeper.max_batch_size=x is not allowed; give a"),
        (["plan", "hydra.sweeper.max_batch_size=0"], "plw: hydra.sweeper.max_batch_size=0 is not allowed; give a"),
    ],
)
def test_a_mistake_is_one_line(call, words, said):
    code, screen, errors = call(*words)
    assert (code, screen, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(said)


@pytest.mark.parametrize("words", [[], ["registry"]])
def test_a_group_without_a_command_shows_its_help(call, words):
    code, screen, errors = call(*words)
    assert (code, errors) == (2, "")
    assert "Usage: plw" in screen


def test_version_and_help(call):
    assert call("--version") == (0, f"plw {__version__}\n", "")
    assert "MODEL" in call("tune", "--help")[1]


def all_commands(command: Any = None, name: str = "plw") -> Iterator[tuple[str, Any]]:
    """Every command and group with its name."""
    command = command or typer.main.get_command(cli.app)
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from all_commands(below, f"{name} {word}")


@pytest.mark.parametrize(("name", "command"), list(all_commands()))
def test_no_line_of_a_help_is_broken_but_by_the_terminal(name, command):
    """Typer keeps the breaks of all paragraphs but the first."""
    assert command.help, name
    assert not any("\n" in paragraph for paragraph in cleandoc(command.help).split("\n\n")[1:])


@pytest.mark.parametrize(("name", "command"), list(all_commands()))
def test_every_word_of_a_command_is_explained_and_none_is_bracketed_twice(name, command):
    """Typer puts what may be left out into brackets, and dots behind what may be repeated."""
    for parameter in command.params:
        assert getattr(parameter, "help", ""), (name, parameter.name)
        assert not (parameter.metavar or "").startswith("["), (name, parameter.name)


FOLDERS = {("report", "--out"), ("world pretrain", "--out")}
"""Options that name a folder to write."""


def _options(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _options(below, (*words, name))
    else:
        yield from ((" ".join(words), parameter) for parameter in command.params)


def test_every_file_that_a_command_leaves_is_looked_at_before_the_work(call, tmp_path):
    named = {(words, option): parameter for words, parameter in _options(typer.main.get_command(cli.app))
             for option in parameter.opts if option in ("--json", "--out", "--picture")}  # fmt: skip
    assert len(named) >= 10
    assert set(named) >= FOLDERS
    for (words, option), parameter in named.items():
        if (words, option) not in FOLDERS:
            assert parameter.callback is not None, (words, option)
            with pytest.raises(cli.UserError, match=f"{option} {tmp_path} is a folder"):
                parameter.callback(None, parameter, tmp_path)
    code, _, errors = call("tune", "world-wide", "world-short", "--json", str(tmp_path))
    assert (code, errors) == (2, f"plw: --json {tmp_path} is a folder; give the name of a file in it\n")


def test_a_file_may_be_new_or_changed_or_a_device_but_not_below_a_file(tmp_path, monkeypatch):
    option = next(found for words, found in _options(typer.main.get_command(cli.app)) if "--json" in found.opts)
    (tmp_path / "old.json").write_text("{}")
    for path in (tmp_path / "old.json", tmp_path / "new/folders/a.json", Path("/dev/null"), None):
        assert output_file(option, path) == path
    assert not (tmp_path / "new").exists()
    with pytest.raises(cli.UserError, match=r"old\.json is no folder"):
        output_file(option, tmp_path / "old.json/a.json")
    for path in ("/proc/a.json", "/proc/none/a.json"):
        # Where not even the superuser, who has every right, can make a file.
        with pytest.raises(cli.UserError, match="no file can be made in /"):
            output_file(option, Path(path))
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(cli.UserError, match="no right to change it"):
        output_file(option, tmp_path / "old.json")
