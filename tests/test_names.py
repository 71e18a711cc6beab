"""One name means one thing: no public name is defined in two modules, but for those with a reason."""

from pathlib import Path

from scripts.duplicate_names import ALLOWED, duplicates


def test_no_public_name_has_two_meanings() -> None:
    found = duplicates()
    assert not {name: modules for name, modules in found.items() if name not in ALLOWED}


def test_names_of_two_modules_are_found_and_private_or_local_ones_are_not(tmp_path: Path) -> None:
    for package, text in (
        ("plw", "LEVEL, _HIDDEN = 0.95, 1\nclass Verdict:\n    def read(self): LOCAL = 1\n"),
        ("analysis", "LEVEL: float = 0.05\n_HIDDEN = 2\nasync def read(): ...\n"),
        ("hydra_plugins", "from plw.module import Verdict\ndef Verdict(): LOCAL = 2\n"),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / "module.py").write_text(text)
    assert duplicates(tmp_path) == {
        "LEVEL": ["analysis.module", "plw.module"],
        "Verdict": ["hydra_plugins.module", "plw.module"],
    }
