"""Hooks of mkdocs: pages made from files that stand elsewhere, so that no text has a second copy."""

import re
from itertools import dropwhile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
"""A page of the site, and the file of the root whose text it shows."""
LANGUAGES = {".sh": "bash", ".py": "python"}


def on_files(files: Any, config: Any) -> Any:
    """Add the root's files, the examples and the choices of conf/ to the site."""
    from mkdocs.structure.files import File

    made = {page: from_docs((ROOT / source).read_text(encoding="utf-8")) for page, source in PAGES.items()}
    made |= {"examples.md": examples(ROOT / "examples"), "reference/conf.md": choices(ROOT / "conf")}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def from_docs(text: str) -> str:
    """The text of a file of the root as it reads from inside docs/."""
    text = re.sub(r"\]\(docs/", "](", text)
    for page, source in PAGES.items():
        text = text.replace(f"]({source}", f"]({page}")
    return text


def examples(folder: Path) -> str:
    """Every example with its text, one section a file."""
    lines = [
        "# Examples",
        "",
        "For whoever wants to copy a command. The files lie in `examples/`; the tests plan each.",
        "",
    ]
    for file in sorted(path for path in folder.iterdir() if path.suffix in LANGUAGES):
        lines += [
            f"## {file.name}",
            "",
            f"```{LANGUAGES[file.suffix]}",
            file.read_text(encoding="utf-8").rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def choices(conf: Path) -> str:
    """Every group of the Hydra tree with its choices; a choice's remark is the first one of its file."""
    lines = [
        "# conf", "",
        "For whoever looks for a choice. `plw run GROUP=CHOICE` takes it; `plw run --help` lists every field.", "",
    ]  # fmt: skip
    for group in sorted(path for path in conf.rglob("*") if path.is_dir() and any(path.glob("*.yaml"))):
        lines += [f"## {group.relative_to(conf)}", "", "| choice | when |", "| --- | --- |"]
        lines += [f"| `{file.stem}` | {remark(file)} |" for file in sorted(group.glob("*.yaml"))]
        lines.append("")
    return "\n".join(lines)


def remark(file: Path) -> str:
    """The first paragraph of a file's comments, as a cell of a table."""
    lines = dropwhile(
        lambda line: not line.startswith("# ") or line.startswith("# @"), file.read_text("utf-8").splitlines()
    )
    words: list[str] = []
    for line in lines:
        if not line.startswith("# ") or line.startswith("#   "):
            break
        words.append(line[2:])
    return " ".join(words).replace("|", "\\|").replace("<", "&lt;")
