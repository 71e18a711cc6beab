"""The preference stage in a cell: after the training, before all that evaluates, told apart from the cell without."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from plw.errors import UserError
from plw.files.hashing import hash_file
from plw.files.reading import read_json
from plw.pipeline import JudgeCache, resolve_cell, run_cell
from plw.pipeline.context import CellContext
from plw.pipeline.preflight import check_inputs
from plw.pipeline.run import StageClaims
from plw.registry import Registry
from plw.registry.rebuild import rebuild
from plw.results.stage_state import StateKeeper
from plw.sweep.cost import stage_cost
from plw.sweep.plan import print_plan
from plw.sweep.status import print_status
from tests.unit.pipeline.conftest import OwnStudy, run

PAIRS = [
    {"instruction": f"Say {n}.", "chosen": f"It is {n}.", "rejected": f"No, not {n}." if n % 2 else "Why?"}
    for n in range(12)
]
STAGES = "stages=[train,preference,generate]"


@pytest.fixture
def pairs(tmp_path: Path) -> list[str]:
    """Overrides that give a cell the stage."""
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(PAIRS))
    return [
        STAGES, "preference=file", "preference.name=own", f"preference.path={path}", "preference.epochs=1",
        "preference.batch_size=4", "preference.learning_rate=1e-3", "preference.max_length=128",
    ]  # fmt: skip


def text_of(printed: object) -> str:
    assert isinstance(printed, Console)
    return printed.export_text()


def test_a_cell_and_its_parent_share_a_training_and_nothing_else(
    own_study: OwnStudy, pairs: list[str], tmp_path: Path
) -> None:
    parent, config = own_study(), own_study(*pairs)
    assert run(parent).stages["train"].status == "done"
    plain, cell = resolve_cell(parent), resolve_cell(config)
    console = Console(record=True, width=300)
    print_plan([parent, config], console)
    assert "link (trained already)" in (shown := text_of(console))
    assert "preference" in shown
    assert "dpo own beta=0.1" in shown

    outcome = run(config)
    assert {kind: stage.error for kind, stage in outcome.stages.items()} == dict.fromkeys(
        ("train", "preference", "generate")
    )
    record = read_json(cell.stages["train"].folder / "record.json")
    assert record["reused"] == plain.stages["train"].folder.relative_to(tmp_path / "runs").as_posix()
    models = {
        name: of.stages[kind].folder / "model/model.safetensors"
        for name, of, kind in (("parent", plain, "train"), ("own", cell, "train"), ("preferred", cell, "preference"))
    }
    assert models["own"].stat().st_ino == models["parent"].stat().st_ino, "linked, not copied"
    assert hash_file(models["preferred"]) != hash_file(models["parent"])
    with JudgeCache() as judges, CellContext(cell, lambda *_: None, judges) as context:
        assert context.model_folder() == models["preferred"].parent

    about = read_json(cell.stages["preference"].folder / "record.json")
    assert about["preference"]["pairs"] == 12
    assert about["preference"]["last_loss"] < about["preference"]["first_loss"]
    url = f"sqlite:///{tmp_path}/runs/registry.sqlite"
    with Registry.open(url) as registry:
        rows = {row.cell: row for row in registry.cells()}
        kinds = {row.kind for row in registry.stage_rows() if row.cell == cell.fingerprint}
        scores = registry.scores_frame()
    assert rows[plain.fingerprint].weighting == ""
    assert rows[cell.fingerprint].weighting == "dpo own beta=0.1"
    assert rows[cell.fingerprint].r_g == rows[plain.fingerprint].r_g
    assert kinds == {"train", "preference", "generate"}
    assert set(scores["weighting"]) == {"", "dpo own beta=0.1"}

    console = Console(record=True, width=200)
    print_status(config, console)
    assert "preference" in text_of(console)
    assert [stage.status for stage in run(config).stages.values()] == ["skipped"] * 3
    counts = rebuild(url, tmp_path / "runs")
    assert (counts.cells, counts.damaged) == (2, ())


def test_what_comes_before_the_first_step_is_told(own_study: OwnStudy, pairs: list[str]) -> None:
    """The frozen model answers all pairs first, which takes a good part of an epoch."""
    heard: list[tuple[int, int | None, str]] = []

    def report(label: str, stage: str, done: int, total: int | None, note: str) -> None:
        if stage == "preference":
            heard.append((done, total, note))

    # Batches of two pairs at most, so that there are several.
    cell = resolve_cell(own_study(*pairs, "stages=[train,preference]", "execution.token_budget=256"))
    with JudgeCache() as judges:
        assert run_cell(cell, report, judges).stages["preference"].error is None
    before = [(done, total) for done, total, note in heard if note.startswith("log-probabilities by the model before")]
    assert before
    assert [(done, total) for done, total, _ in heard[: len(before)]] == before
    assert before == [(number, len(before)) for number in range(1, len(before) + 1)]


def test_a_stage_that_lacks_its_pairs_model_says_so(own_study: OwnStudy, pairs: list[str]) -> None:
    outcome = run(own_study(*pairs, "stages=[train,generate]"))
    assert "not trained on its pairs yet; add preference to stages" in str(outcome.stages["generate"].error)


def test_the_choice_is_identity_of_what_rests_on_it_alone(own_study: OwnStudy, pairs: list[str]) -> None:
    plain = resolve_cell(own_study("stages=[train,preference,generate]"))
    assert plain.config.stages == ["train", "generate"]
    # A field in a payload would change the fingerprints of every cell of before.
    assert "preference" not in json.dumps({kind: stage.payload for kind, stage in plain.stages.items()})
    assert "preference" not in plain.stages
    first, second = resolve_cell(own_study(*pairs)), resolve_cell(own_study(*pairs, "preference.beta=0.5"))
    renamed = resolve_cell(own_study(*pairs, "preference.name=other"))
    assert first.stages["train"].fingerprint == plain.stages["train"].fingerprint
    assert len({cell.fingerprint for cell in (plain, first, second)}) == 3
    for kind in ("preference", "diagnose", "harness", "generate", "judge"):
        assert first.stages[kind].fingerprint != second.stages[kind].fingerprint
        assert first.stages[kind].fingerprint == renamed.stages[kind].fingerprint
    assert first.folder.name == f"p0-r1-s42-dpo-{first.fingerprint[:8]}"
    cost = stage_cost(first, "preference")
    assert cost is not None
    assert cost.steps == 3
    assert cost.trained_tokens == cost.prompt_tokens
    assert cost.trained_tokens


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chosen": None}, r"pairs\.json: row 5: field 'chosen' is null"),
        ({"rejected": PAIRS[4]["chosen"]}, r"pairs\.json: row 5: chosen and rejected are equal"),
        ({"chosen": "word " * 120}, r"pairs\.json: row 5: \d+ tokens are more than preference\.max_length=128"),
    ],
)
def test_mistakes_in_pairs_are_told_before_the_first_cell(
    own_study: OwnStudy, pairs: list[str], tmp_path: Path, change: dict[str, str], words: str
) -> None:
    rows = [{**row, **change} if number == 4 else row for number, row in enumerate(PAIRS)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=words) as caught:
        check_inputs([resolve_cell(own_study(*pairs))])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("preference.beta=0", "preference.beta=0 is not allowed; it must be above 0"),
        ("preference.beta=-1", "preference.beta=-1 is not allowed; it must be above 0"),
        ("preference.epochs=0", "preference.epochs=0 is too small"),
        ("preference.method=ppo", "preference.method=ppo is not known; allowed: dpo, none"),
        ("preference.method=none", "does not go with preference.method=none"),
        ("preference.path=/nowhere.json", r"preference.path=/nowhere.json: no such file"),
        ("preference.max_length=2000", "execution.token_budget=2048 does not hold a pair"),
        ("+preference.columns.output=x", "preference.columns=output is not known; allowed: chosen, history, input"),
    ],
)
def test_mistakes_in_the_choice_are_one_line(own_study: OwnStudy, pairs: list[str], word: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        resolve_cell(own_study(*pairs, word))
    assert "\n" not in str(caught.value)


def test_a_training_that_is_under_way_elsewhere_is_waited_for(own_study: OwnStudy, pairs: list[str]) -> None:
    first, second = resolve_cell(own_study(*pairs)), resolve_cell(own_study(*pairs, "preference.beta=0.5"))
    config = first.config
    with Registry.open(config.registry.url) as registry:
        for cell in (first, second):
            registry.ensure_cell(cell.row())
        one, other = (StageClaims(cell, cell.stages["train"], registry, StateKeeper()) for cell in (first, second))
        assert one.claim() == "claimed"
        assert other.claim() == "busy"
        one.fail("stopped", "")
        assert other.claim() == "claimed"
