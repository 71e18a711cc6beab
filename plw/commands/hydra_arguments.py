"""The words of `plw run` and `plw plan` in the order that Hydra's parser takes, checked for options that it lacks."""

from collections.abc import Iterable, Sequence

from plw.errors import UserError

WITH_VALUE = ("--config-dir", "-cd", "--cfg", "-c", "--package", "-p")
HYDRA_FLAGS = ("--multirun", "-m", "--help", "-h", "--hydra-help", "--resolve", "--info", "-i", "--version")
ALLOWED = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Options -> their values."""
INSTEAD = {
    "--dry-run": "`plw plan` with the same words says what would run",
    "--out": "results stand below execution.runs=FOLDER",
}
"""Options that people expect -> what serves instead."""


def options_first(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The options, and the overrides that stand between them: Hydra's parser takes overrides in one stretch only.

    Raises:
        UserError: an option that is not known, or one without its value; the line says what is.
    """
    options: list[str] = []
    overrides: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, given = word.partition("=")
        if not word.startswith("-"):
            overrides.append(word)
        elif name in HYDRA_FLAGS:
            if equals and given not in ALLOWED.get(name, ()):
                instead = f"allowed: {', '.join(ALLOWED[name])}" if name in ALLOWED else "it takes no value"
                raise UserError(f"{word}: {instead}")
            options.append(word)
        elif name in WITH_VALUE:
            value = given if equals else next(left, None)
            if not value:
                raise UserError(f"{name} needs a value, such as {name} {ALLOWED.get(name, ('FOLDER',))[0]}")
            if value not in ALLOWED.get(name, (value,)):
                raise UserError(f"{name} {value} is not known; allowed: {', '.join(ALLOWED[name])}")
            options += [word] if equals else [name, value]
        else:
            instead = INSTEAD.get(
                name, f"a field is given as {name.strip('-').replace('-', '_')}=VALUE, without dashes"
            )
            raise UserError(f"{name} is no option here; {instead}; allowed: {', '.join((*WITH_VALUE, *HYDRA_FLAGS))}")
    if option_value(options, "--package", "-p") is not None and option_value(options, "--cfg", "-c") is None:
        raise UserError("--package goes with --cfg: it says which part of the config is shown")
    return options, overrides


def option_value(options: Sequence[str], *names: str) -> str | None:
    """The value of an option that is given as ``NAME VALUE`` or ``NAME=VALUE``; None where it is not given."""
    for place, word in enumerate(options):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else options[place + 1]
    return None
