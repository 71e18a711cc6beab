"""No secret of the environment is stored or shown, whoever quotes it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plw.cli import main
from plw.errors import UserError
from plw.redact import redact

KEY = "sk-proj/abc+123=very-secret"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return KEY


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "my_secret", "PGPASSWORD", "AWS_CREDENTIALS"])
def test_a_secret_is_replaced_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KEY)
    assert (
        redact(f"Incorrect API key provided: {KEY}. See {KEY}") == f"Incorrect API key provided: [{name}]. See [{name}]"
    )
    assert redact("https://host/?key=sk-proj%2Fabc%2B123%3Dvery-secret") == f"https://host/?key=[{name}]"


def test_other_variables_and_place_holders_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert redact(f"{KEY} EMPTY") == f"{KEY} EMPTY"
    assert redact(KEY, "SOMEWHERE") == "[SOMEWHERE]"


def test_one_secret_may_be_a_part_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "12345678")
    monkeypatch.setenv("B_KEY", "123456789")
    assert redact("123456789 12345678") == "[B_KEY] [A_KEY]"


@pytest.mark.parametrize("value", [f"{KEY}\n", f" {KEY}\r\n", 'quo"ted\\key', "kéy-of-mine"])
@pytest.mark.parametrize("written", [str, str.strip, repr, json.dumps])
def test_a_secret_is_found_however_it_is_quoted(
    value: str, written: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key from a file ends in a line break, which an error of the HTTP library shows as backslash and n."""
    monkeypatch.setenv("MY_KEY", value)
    said = redact(f"Illegal header value {written(value)}!")
    assert "[MY_KEY]" in said
    assert not any(part in said for part in (KEY, "ted", "of-mine"))


@pytest.mark.parametrize("error", [UserError(f"401: {KEY}"), RuntimeError(f"401: {KEY}")])
def test_what_the_command_prints(
    error: Exception, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr("plw.cli.app", fails)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == (2 if isinstance(error, UserError) else 1)
    assert "401: [OPENAI_API_KEY]" in printed
    assert key not in printed


def test_what_is_logged() -> None:
    script = (
        "import logging; from plw.runtime.logs import configure_logging; configure_logging()\n"
        "log = logging.getLogger('plw.x')\n"
        f"log.warning('said %s', '{KEY}')\n"
        "log.warning('first\\nsecond\\x1b]0;taken\\x07')\n"
        f"try: raise ValueError('{KEY}')\n"
        "except ValueError: log.exception('failed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "MY_TOKEN": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "said [MY_TOKEN]" in done.stderr
    assert "ValueError: [MY_TOKEN]" in done.stderr
    assert KEY not in done.stderr.replace(script, "")
    assert "first\nsecond\\x1b]0;taken\\x07\n" in done.stderr, "lines stay lines; a terminal obeys nothing"
