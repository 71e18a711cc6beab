"""The report from a simulated study: all files, the same bytes twice, nothing foreign in the page."""

import base64
import csv
import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from simulated_study import GROUPS, give_items, headline, simulate, some_items, write_stage

import analysis.inference.sensitivity as sensitivity
import analysis.report.context as context
import analysis.report.write as report
from analysis.figures.theme import RC
from analysis.inference.residuals import MIN_DRAWS, residual_checks
from analysis.report.catalogue import TITLES
from analysis.report.parts import Chapter, Paragraphs
from analysis.report.write import write_report
from analysis.scores.benchmarks import Benchmarks
from analysis.scores.choice import Wanted
from plw.errors import UserError
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.schema import scores
from plw.registry.store import Registry

TABLES = (
    "table1_datasets", "table2_benchmarks", "table3_regression", "table4_optima", "results", "intervals", "gains",
    "selection", "seeds", "groups", "benchmarks", "differences", "sensitivity", "residuals", "stage_times",
    "comparisons", "noise",
)  # fmt: skip
FILES = {
    *(f"{stem}.{kind}" for stem in TITLES for kind in ("png", "pdf")),
    *(f"{stem}.{kind}" for stem in TABLES for kind in ("csv", "md", "tex")),
    "index.html",
    "comparisons.json",
}
BOTH = ("png", "pdf")
HOSTILE = "<script>alert('x')</script>&\"'|*"
CONTROL = "a\x00b\x1b[31mc\x9bd\u202ee"


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """The page, not the fits' checks or the print, is tested here: many draws take seconds, and so do fine pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RC, "savefig.dpi", 40)
        patch.setattr(report, "FIGURE_FORMATS", ("png",))
        patch.setattr(context, "residual_checks", partial(residual_checks, draws=MIN_DRAWS))
        patch.setattr(sensitivity, "SQUEEZES", {sensitivity.BASELINE: sensitivity.squeeze})
        yield


@dataclass(frozen=True)
class Written:
    """A study's registry and runs, its report's page, and what the progress said."""

    url: str
    runs: Path
    page: Path
    steps: list[tuple[int, int]]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """A study of 24 cells with items, reported with figures of both kinds. Read it, never write."""
    folder, steps = tmp_path_factory.mktemp("usual"), []
    url, runs = simulate(folder, weights=(0.0, 0.01, 0.1, 1.0))
    give_items(url, runs, some_items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "FIGURE_FORMATS", BOTH)
        page = _write(url, runs, folder / "one", progress=lambda done, total, note="": steps.append((done, total)))
    return Written(url, runs, page, steps)


def _write(url, runs, out, groups=GROUPS, **options):
    info = {name: {"task": f"<script>{name}</script>", "shots": 0, "metric": "acc"} for name in groups}
    benchmarks = Benchmarks(groups=groups, info=info)
    given = {"study": "plw", "scale": "mini", "configured": lambda name: benchmarks} | options
    return write_report(url, runs, out, **given)


class Page(HTMLParser):
    """Tags with their attributes, the text outside styles and scripts, and what stands in those."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.code = [], [], {"style": [], "script": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.code.get(self.tags[-1][0] if self.tags else "", self.text).append(data)

    def handle_endtag(self, tag):
        if tag in self.code:
            self.tags.append(("", {}))

    @property
    def data(self):
        return json.loads(self.code["script"][0])


def _scripts(text):
    return len(re.findall("<script", text, re.IGNORECASE))


@pytest.mark.slow
def test_every_file_is_there_and_the_same_twice(usual, tmp_path, monkeypatch):
    one = usual.page.parent
    assert usual.page == one / "index.html"
    assert {path.name for path in one.iterdir()} == FILES | {"source.json", "verdicts.json"}
    monkeypatch.setattr(report, "FIGURE_FORMATS", BOTH)
    _write(usual.url, usual.runs, tmp_path / "two")
    for name in FILES | {"verdicts.json"}:
        assert (one / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    steps = usual.steps
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]
    assert steps == sorted(steps)


def test_verdicts_are_a_file_with_every_scope(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 0.01, 0.1, 1.0), datasets=("short",))
    page = _write(url, runs, tmp_path / "report")
    verdicts = json.loads((tmp_path / "report" / "verdicts.json").read_text())
    assert [verdict["scope"] for verdict in verdicts] == ["all"] + ["group"] * 4 + ["benchmark"] * 13
    for verdict in verdicts:
        assert verdict.keys() >= {"dataset", "scope", "name", "p", "p_holm", "moved", "direction", "at_0", "at_best",
                                  "best_weight", "best_low", "best_high", "excluded"}  # fmt: skip
        assert verdict["direction"] in ("up", "down", "peak", "dip", None)
        assert verdict["moved"] == (verdict["p_holm"] < 0.05)
    words = " ".join(Page(page.read_text()).text)
    assert "On short: " in words
    assert words.count("are those of the fitted curve") == 1


@pytest.mark.slow
def test_written_again_only_when_something_changed(make_study, tmp_path):
    url, runs = make_study(
        weights=(0.0, 1.0), datasets=("short",), models=("wide",), skip=lambda cell, name: name != "arc",
    )  # fmt: skip
    write = partial(_write, url, runs, tmp_path / "report", groups={"arc": "multiple_choice"})
    page = write()
    page.write_text("kept")
    assert write().read_text() == "kept"
    assert write(force=True).read_text() != "kept"
    page.write_text("kept")
    (tmp_path / "report" / "source.json").unlink()
    assert write().read_text() != "kept"
    page.write_text("kept")
    with Registry.open(url) as registry, registry.transaction() as connection:
        connection.execute(scores.update().values(value=scores.c.value / 2))
    assert write().read_text() != "kept"
    with Registry.open(url) as registry, registry.transaction() as connection:
        cells = [cell.cell for cell in registry.cells()]
        for cell, version in zip(cells, ("lm-eval 0.4.8", "lm-eval 0.4.9"), strict=True):
            connection.execute(scores.update().where(scores.c.cell == cell).values(library_version=version))
    said = " ".join(Page(write().read_text()).text)
    assert "Several versions of lm-eval scored arc: 0.4.8 in 1 cell, 0.4.9 in 1 cell" in said


@pytest.mark.slow
def test_the_page_stands_alone_and_says_what_was_counted(usual):
    page = Page(usual.page.read_text())
    sources = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert sources
    files = {path.name for path in usual.page.parent.iterdir()}
    assert all(source.startswith(("data:", "#")) or source in files for source in sources)
    assert not [tag for tag, attributes in page.tags if tag == "link" and attributes["rel"] != "icon"]
    assert not [attributes for tag, attributes in page.tags if "src" in attributes and tag != "img"]
    words = " ".join(page.text)
    for counted in (
        "24 cells",
        "3 datasets",
        "2 base models",
        "4 prompt weights",
        "13 benchmarks",
        "312 headline scores",
    ):
        assert counted in words
    assert "Nothing is missing" in words
    assert "beta regression" in words
    targets = {a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"].startswith("#")}
    assert targets <= {attributes.get("id") for _, attributes in page.tags}
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


def test_only_the_pages_own_code_may_run(make_study, tmp_path):
    """The policy names the script and the style by hash, and nothing in the page needs more than it allows."""
    url, runs = make_study(weights=(0.0, 1.0), datasets=("short",))
    page = Page(_write(url, runs, tmp_path / "report").read_text())
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    for kind, code in (("script-src", page.code["script"][1]), ("style-src", page.code["style"][0])):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert rules[kind] == [f"'sha256-{digest}'"]
    attributes = {name for _, of_tag in page.tags for name in of_tag}
    assert not {name for name in attributes if name == "style" or name.startswith("on")}


def test_a_part_that_cannot_be_made_is_a_note_in_its_place(make_study, tmp_path, monkeypatch):
    def broken(context):
        yield Paragraphs(paragraphs=["made before"])
        raise UserError("the grid lacks a ratio")

    monkeypatch.setattr(report, "CHAPTERS", (*report.CHAPTERS, Chapter(key="more", title="More", makers=[broken])))
    url, runs = make_study(weights=(0.0, 1.0), datasets=("short",))
    words = " ".join(Page(_write(url, runs, tmp_path / "report").read_text()).text)
    assert "made before" in words
    assert "the grid lacks a ratio" in words


def test_holes_and_failed_stages_are_named(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 0.1, 1.0), datasets=("short",), skip=lambda cell, benchmark: (
        benchmark == "pandalm" and cell.prompt_weight == 0.1 and cell.model == "deep"))  # fmt: skip
    with Registry.open(url) as registry:
        cell = registry.cells()[0]
        key, owner = StageKey(study="plw", scale="mini", cell=cell.cell, name="judge"), Owner.here()
        registry.claim(key, kind="judge", fingerprint="x", owner=owner, lease_timeout_s=60, now=1.0)
        registry.fail(key, owner.token, f"the judge said {HOSTILE}", "Traceback", now=2.0)
    text = _write(url, runs, tmp_path / "report").read_text()
    words = " ".join(Page(text).text)
    assert "short, deep, PLW 0.1, seed 42: pandalm" in words
    assert re.search(rf"judge failed after 1 attempt\S* {re.escape(f'the judge said {HOSTILE}')}", words)
    assert _scripts(text) == 2
    assert "5 of the cells" in words


def test_hostile_names_are_text_everywhere(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 0.01, 0.1, 1.0), datasets=(HOSTILE, "short"), models=("wide", "<img src=x>"))
    page = _write(url, runs, tmp_path / "report")
    text = page.read_text()
    assert _scripts(text) == 2
    assert "<img src=x>" not in text
    assert HOSTILE in " ".join(Page(text).text)
    assert HOSTILE in [dataset["name"] for dataset in Page(text).data["study"]["datasets"]]
    for path in page.parent.glob("*.md"):
        for line in path.read_text().splitlines():
            assert "<script" not in line
    rows = (page.parent / "results.md").read_text().splitlines()
    table = [line for line in rows if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, "a name broke the table"


def test_control_characters_are_made_visible_in_the_page_and_its_files(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 1.0), datasets=(CONTROL,), models=("wide",))
    page = _write(url, runs, tmp_path / "report")
    for path in [page, *page.parent.glob("*.md"), *page.parent.glob("*.tex"), *page.parent.glob("*.csv")]:
        assert not set(path.read_text()) & set("\x00\x1b\x9b\u202e"), path.name
    names = [item["name"] for item in Page(page.read_text()).data["study"]["datasets"]]
    assert names == ["a\u2400b\u241b[31mc\ufffdd\ufffde"]


@pytest.mark.slow
def test_the_tables_hold_the_records_numbers(usual):
    out = usual.page.parent
    with (out / "table1_datasets.csv").open() as file:
        datasets = {row["dataset"]: row for row in csv.DictReader(file)}
    assert float(datasets["short"]["r_g"]) == 0.08
    assert list(datasets) == ["data", "cleaned", "short"]
    with (out / "table2_benchmarks.csv").open() as file:
        benchmarks = {row["benchmark"]: row for row in csv.DictReader(file)}
    assert set(benchmarks) == set(GROUPS)
    assert (benchmarks["avin-belo"]["metric"], benchmarks["avin-belo"]["n"]) == ("bleu", "100")
    with (out / "table3_regression.csv").open() as file:
        assert {row["dataset"] for row in csv.DictReader(file)} == {"data", "cleaned", "short"}
    with (out / "stage_times.csv").open() as file:
        times = {row["stage"]: row for row in csv.DictReader(file)}
    assert (times["train"]["done"], float(times["train"]["seconds"])) == ("24", 24 * 2.5)


def test_a_damaged_or_missing_record_is_said_and_does_not_stop_the_report(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 1.0), models=("wide",))
    records = sorted(runs.rglob("train/record.json"))
    damage = ["{", "[]", '{"kind": "train"}', '{"kind": "train", "cell": 5, "data": {"r_g": 1}}',
              '{"kind": "train", "cell": {"dataset": "data", "model": "m"}, "data": {"r_g": "many"}}']  # fmt: skip
    for path, text in zip(records, damage, strict=False):
        path.write_text(text)
    for path in records[len(damage) :]:
        path.unlink()
    out = _write(url, runs, tmp_path / "report").parent
    words = (out / "index.html").read_text()
    for path in (path for path in records if path.exists() and path.read_text() != '{"kind": "train"}'):
        assert str(path) in words
    assert not (out / "table1_datasets.csv").exists()


@pytest.mark.parametrize("weights", [(0.1,), (0.0, 1.0)])
def test_a_grid_too_small_for_a_curve_is_reported_all_the_same(make_study, tmp_path, weights):
    url, runs = make_study(weights=weights, datasets=("short",), models=("wide",))
    words = " ".join(Page(_write(url, runs, tmp_path / "report").read_text()).text)
    assert "do not determine a parabola" in words or "no reliable answer" in words


def test_one_cell_with_one_benchmark_shows_what_there_is(make_study, tmp_path):
    url, runs = make_study(
        weights=(0.1,), datasets=("short",), models=("wide",), skip=lambda cell, name: name != "arc",
    )  # fmt: skip
    page = Page(_write(url, runs, tmp_path / "report", groups={"arc": "multiple_choice"}).read_text())
    chapters = {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
    assert chapters >= {"grid", "scores", "benchmarks", "mechanism", "time", "methods"}
    assert not chapters & {"regression", "choice", "ratio", "ablation", "others"}
    words = " ".join(page.text)
    assert "Not made" not in words
    assert "1 cell of 1 dataset, 1 base model, 1 prompt weight" in words
    assert "do not determine a parabola" in words


def test_a_study_of_two_suites_shows_the_newest_and_names_the_other(make_study, tmp_path):
    url, runs = make_study(weights=(0.0, 1.0), datasets=("short",), models=("wide",))
    with Registry.open(url) as registry:
        for cell in registry.cells():
            mine = replace(headline("arc", 0.2 + 0.5 * cell.prompt_weight), suite="own", benchmark="mine")
            write_stage(registry, runs, cell, "harness-own", [mine], kind="harness", finished=99.0)
    asked = []

    def configured(name):
        asked.append(name)
        return Benchmarks(groups={"mine": "short_generation"}) if name == "own" else None

    page = Page(_write(url, runs, tmp_path / "report", configured=configured).read_text())
    assert asked == ["own", "world"], "the config is asked of the suites that were run"
    words = " ".join(page.text)
    assert "Study plw at scale mini: suite own (the newest of 2)" in words
    assert "Not counted here: suite world" in words
    assert "plw report --suite world" in words
    assert [row["name"] for row in page.data["widgets"]["benchmarks"]["benchmarks"]] == ["mine"]
    assert "Nothing is missing" in words
    label = f"suite world ({len(GROUPS)} benchmarks)"
    assert page.data["study"]["series"] == [label]
    assert {line["further"] for line in page.data["widgets"]["scores"]["series"]} == {-1, 0}
    with (tmp_path / "report" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["series"], row["prompt_weight"]) for row in rows] == [
        ("this report", "0.0"), ("this report", "1.0"), (label, "0.0"), (label, "1.0")
    ]  # fmt: skip
    assert [float(row["simple"]) for row in rows[:2]] == pytest.approx([0.2, 0.7])
    with (tmp_path / "report" / "benchmarks.csv").open() as file:
        assert len([row for row in csv.DictReader(file) if row["series"] == label]) == 2 * len(GROUPS)
    world = Page(_write(url, runs, tmp_path / "world", wanted=Wanted(suite="world")).read_text())
    assert "Study plw at scale mini: suite world" in " ".join(world.text)
    assert len(world.data["widgets"]["benchmarks"]["benchmarks"]) == len(GROUPS)
    with pytest.raises(UserError, match=r"--suite none: .* it has own, world"):
        _write(url, runs, tmp_path / "none", wanted=Wanted(suite="none"))
    assert not (tmp_path / "none").exists()


def test_one_line_where_there_is_nothing_to_report(make_study, tmp_path):
    url, runs = make_study(weights=(0.0,))
    with pytest.raises(UserError, match="nothing of study wit at scale mini; it holds plw-mini"):
        _write(url, runs, tmp_path / "report", study="wit")
    with pytest.raises(UserError, match="no registry there"):
        _write(f"sqlite:///{tmp_path}/none.sqlite", runs, tmp_path / "report")
    empty = f"sqlite:///{tmp_path}/empty.sqlite"
    Registry.open(empty).close()
    with pytest.raises(UserError, match="it is empty"):
        _write(empty, runs, tmp_path / "report")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the report there \(Not a directory\); name another"):
        _write(url, runs, tmp_path / "file" / "report")
