"""Files for people keep to the code: versions, trees, links and lint's hooks."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import plw

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    path for top in ("plw", "analysis", "hydra_plugins", "scripts") for path in sorted((ROOT / top).rglob("*.py"))
]
NAMED_FILE = re.compile(r"`((?:plw|analysis|conf|hydra_plugins|scripts|tests|examples|docs)/[\w./-]*)`")
SUFFIX = re.compile(r"\b_?[a-z]\w*?_((?=[0-9]*[A-Z])[0-9A-Z]{1,5})\b")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def test_the_version_is_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changes = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert released[0] == (plw.__version__, citation["date-released"])
    assert citation["version"] == plw.__version__


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_files_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readmes_tree_is_the_tree() -> None:
    """Each line of "The tree" names a file or folder, and every folder with code has a line."""
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("\n## ")[0]
    folders: list[str] = []
    named = set()
    for line in re.findall(r"^    ( *)([\w./]+)  +\S", tree, re.MULTILINE):
        depth, names = len(line[0]) // 2, line[1]
        folders[depth:] = [names]
        path = ROOT.joinpath(*folders)
        assert path.exists(), f"README's tree names {path.relative_to(ROOT)}"
        named.add(path.relative_to(ROOT).as_posix())
    inner = {
        path.relative_to(ROOT).as_posix()
        for top in ("plw", "analysis")
        for path in {module.parent for module in (ROOT / top).rglob("*.py")} - {ROOT / top}
        if path.name != "versions"
    }
    assert inner <= named, f"README's tree lacks {sorted(inner - named)}"


def test_the_hooks_and_the_workflow_call_what_make_lint_calls() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    lint = (ROOT / "Makefile").read_text().split("lint: ")[1].split("\n\n")[0]
    assert tools == set(re.findall(r"\$\(BIN\)/(\w+)", lint))
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    for script in (".ci/run", *(path.relative_to(ROOT) for path in (ROOT / "examples").glob("*.sh"))):
        subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in text


def test_what_make_installs_is_declared() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for group in re.findall(r"--editable '\.\[([\w,]+)\]'", (ROOT / "Makefile").read_text()):
        assert set(group.split(",")) <= set(extras)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = [name for name in NAMED_FILE.findall(page.read_text(encoding="utf-8")) if "NAME" not in name]
    lacking = [name for name in named if not (ROOT / name).exists()]
    assert not lacking


def test_the_legend_of_shapes_has_every_letter() -> None:
    """A name that ends in capitals ends in axes; each letter stands in CONTRIBUTING's table, and no letter too many."""
    rows = (ROOT / "CONTRIBUTING.md").read_text().split("### Shapes")[1]
    legend = dict(re.findall(r"^\| ([A-Z]) \| (.+) \|$", rows, re.MULTILINE))
    assert list(legend) == sorted(legend)
    used: dict[str, set[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "attr", None)
            for axes in SUFFIX.findall(name) if isinstance(name, str) else ():
                for letter in re.sub(r"\d", "", axes):
                    used.setdefault(letter, set()).add(f"{path.relative_to(ROOT)}: {name}")
    assert {letter: sorted(names)[:5] for letter, names in used.items() if letter not in legend} == {}
    assert set(legend) <= set(used), "letters that nothing uses"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != ROOT], ids=lambda path: path.stem)
def test_a_page_opens_with_who_needs_it(page: Path) -> None:
    title, _, first, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ")
    assert first.startswith("For whoever ")
