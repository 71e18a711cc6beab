"""The command line itself: a mistake in its words is one line that says where to read on."""

import sys

import pytest

from plw import __version__, cli


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
