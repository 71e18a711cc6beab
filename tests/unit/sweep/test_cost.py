"""A plan's costs: known operations for known sizes, unknown where a size is, and what must be fetched first."""

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

import plw.sweep.cpu_speed as cpu_speed_module
from plw.config.compose import register_schema, typed
from plw.config.study import CostConfig
from plw.errors import UserError
from plw.paths import conf_folder
from plw.pipeline import Cell, check_inputs, resolve_cell
from plw.sweep.cost import StageCost, cell_shape, judge_calls, stage_cost
from plw.sweep.cost_gaps import unknown_sizes
from plw.sweep.cpu_speed import CACHE_FILE, CpuSpeed, ModelShape, NumberFormats, measure_speed, model_shape
from plw.sweep.plan import print_plan

Plan = Callable[..., Cell]
RECORDS = 50


@pytest.fixture
def plan(tmp_path: Path, tiny_llama: Path) -> Iterator[Plan]:
    """Plans the cell of a small local model and a file of fifty records, scored by the paper's suite."""
    register_schema()
    (tmp_path / "data.json").write_text(
        json.dumps([{"instruction": "a" * 40, "input": "", "output": "b" * 60}] * RECORDS)
    )
    shutil.copytree(tiny_llama, tmp_path / "model")
    base = [
        "study=own", "scale=own", "model=folder", "model.name=m", f"model.path={tmp_path}/model", "dataset=file",
        "dataset.name=d", f"dataset.path={tmp_path}/data.json", "recipe=alpaca", "suite=plw", "judge=openai",
        "judge.name=j", "judge.model=big", "judge.endpoint=null", f"execution.runs={tmp_path}/runs",
        "execution.cost.device=gpu",
        *(f"suite.prompts.{name}.prompts={tmp_path}/{name}.json" for name in ("alpaca_eval", "pandalm")),
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield lambda *overrides: resolve_cell(typed(compose("config", overrides=[*base, *overrides])))


def printed(*cells: Cell) -> str:
    out = io.StringIO()
    print_plan([cell.config for cell in cells], Console(file=out, width=200))
    return out.getvalue()


def test_training_costs_six_operations_a_parameter_and_token_and_hours_follow_from_the_rates() -> None:
    work = StageCost(trained_tokens=1e9, prompt_tokens=3e6, generated_tokens=2e6, parameters=7_000_000_000)
    assert work.operations == pytest.approx(7e9 * (6e9 + 2 * 5e6))
    rates = CostConfig(tflops=100, training_mfu=0.5, prefill_mfu=0.25, decode_mfu=0.01)
    seconds = 7e9 * (6e9 / 0.5 + 6e6 / 0.25 + 4e6 / 0.01) / 100e12
    assert work.gpu_hours(rates) == pytest.approx(seconds / 3600)
    assert StageCost(trained_tokens=None, parameters=1).operations is None
    assert StageCost(trained_tokens=1).gpu_hours(rates) is None


def test_a_folder_and_a_file_are_measured(plan: Plan, tiny_llama: Path) -> None:
    from transformers import AutoModelForCausalLM

    cell = plan()
    work = stage_cost(cell, "train")
    assert work is not None
    assert work.parameters == AutoModelForCausalLM.from_pretrained(tiny_llama).num_parameters()
    template = len(cell.config.template.without_input) / 4
    assert work.trained_tokens == pytest.approx(3 * RECORDS * (100 / 4 + template))
    shorter = stage_cost(plan("recipe.epochs=1", "dataset.limit=10", "recipe.max_length=20"), "train")
    assert shorter is not None
    assert shorter.trained_tokens == 10 * 20


def test_published_sizes_and_the_config_come_first(plan: Plan) -> None:
    cell = plan("study=plw", "dataset.name=alpaca-cleaned", "model.parameters=1000")
    work = stage_cost(cell, "train")
    assert work is not None
    assert work.parameters == 1000
    template = len(cell.config.template.without_input) / 4
    assert work.trained_tokens == pytest.approx(3 * (9_490_837 + 51_760 * template))  # Table 1, and the template


def test_evaluation_counts_documents_and_answers_and_the_judge_both_orders(plan: Plan) -> None:
    cell = plan()
    generate, harness = stage_cost(cell, "generate"), stage_cost(cell, "harness")
    assert generate is not None
    assert generate.generated_tokens == (805 + 170) * 512
    assert harness is not None
    assert harness.prompt_tokens is not None
    assert harness.prompt_tokens > 1172 * 4800
    assert judge_calls(cell) == 805 + 2 * 170
    assert judge_calls(plan("suite.prompts.pandalm.limit=10")) == 805 + 2 * 10
    unknown = stage_cost(plan("suite.tasks.piqa.documents=null"), "harness")
    assert unknown is not None
    assert unknown.tokens is None


def test_a_plan_says_what_it_costs_and_what_has_to_be_fetched(plan: Plan) -> None:
    text = printed(plan())
    assert "GPU hours" in text
    assert "1,145 verdicts" in text
    assert "prompts alpaca_eval: https://raw.githubusercontent.com/tatsu-lab/alpaca_eval/" in text
    assert "judge.endpoint: the address of a server of big" in text
    assert "data of the tasks arc_challenge" in text
    hub = printed(plan("model.path=owner/name", "model.revision=01c7f73", "model.parameters=7000000000"))
    assert "model m: owner/name from the hub (revision 01c7f73, 14.0 GB)" in hub
    assert "NOT PINNED" in printed(plan("model.path=owner/name"))


def test_a_plan_tells_weightings_apart_where_the_grid_has_several(plan: Plan) -> None:
    plain, weighted = plan(), plan("loss/factor=dft")
    assert "┃ weighting ┃" not in printed(plain)
    text = printed(plain, weighted)
    assert "┃ weighting ┃" in text
    assert "│ dft " in text


def test_a_plan_says_which_key_a_judge_needs_and_what_is_left_to_another(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = (
        "judge.endpoint=https://api.openai.com/v1",
        "judge.key_variable=KEY_OF_TEST",
        "judge.protocols=[alpaca_eval]",
    )
    line = "judge j: https://api.openai.com/v1, its key in the environment as KEY_OF_TEST"
    monkeypatch.delenv("KEY_OF_TEST", raising=False)
    text = printed(plan(*paid))
    assert f"{line} (not set here)" in text
    assert "a judge of pandalm: j is none" in text
    assert "judge=pandalm," in text
    monkeypatch.setenv("KEY_OF_TEST", "hidden")
    text = printed(plan(*paid))
    assert f"{line} (set)" in text
    assert "hidden" not in text
    own = printed(plan("judge.endpoint=http://127.0.0.1:1/v1"))
    assert "its key" not in own
    assert "a judge of" not in own


def test_without_a_gpu_a_plan_is_in_hours_of_this_machine_measured_once(plan: Plan, tmp_path: Path) -> None:
    here = ("execution.cost.device=cpu", f"execution.cache={tmp_path}/cache", "execution.threads=1")
    text = printed(plan(*here))
    assert "hours here" in text
    assert "GPU hours" not in text
    assert "on this machine, the judge not counted" in text
    assert re.search(r"\bm: \S+ tokens a second in training, \S+ in reading;", text)
    file = tmp_path / "cache" / CACHE_FILE
    [(key, kept)] = json.loads(file.read_text()).items()

    def speed(**fields: float) -> None:
        file.write_text(json.dumps({key: kept | {"speed": kept["speed"] | fields}}))

    speed(others=0.0)
    left = file.read_text()
    first = printed(plan(*here))
    assert "Other work" not in first
    assert printed(plan(*here)) == first
    assert file.read_text() == left
    # What a busy machine gave does not last, and what a busier one gives is not taken for it.
    speed(others=1.0, train_token_s=1e6)
    again = printed(plan(*here))
    assert json.loads(file.read_text())[key]["speed"]["train_token_s"] < 1e6
    assert "the next plan measures again" not in again or json.loads(file.read_text())[key]["speed"]["others"] >= 0.1
    file.write_text("[")
    assert "hours here" in printed(plan(*here))


def test_a_busy_machine_is_told_with_the_hours(plan: Plan, tmp_path: Path) -> None:
    here = ("execution.cost.device=cpu", f"execution.cache={tmp_path}/cache", "execution.threads=1")
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        told = printed(plan(*here))
    finally:
        for process in burning:
            process.kill()
            process.wait()
    assert re.search(r"Other work had [1-9]\d% of this machine meanwhile, so the hours are too many", told)


def test_cells_of_one_shape_are_measured_once_on_a_busy_machine_too(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def disturbed(*shape: Any, **rest: Any) -> CpuSpeed:
        made.append(dataclasses.replace(measure_speed(*shape, **rest), others=0.5))
        return made[-1]

    monkeypatch.setattr(cpu_speed_module, "measure_speed", disturbed)
    here = ("execution.cost.device=cpu", f"execution.cache={tmp_path}/cache", "execution.threads=1")
    cells = [plan(*here, f"loss.prompt_weight={weight}") for weight in (0, 0.1, 1)]
    assert "the next plan measures again" in printed(*cells)
    assert len(made) == 1
    printed(*cells)
    assert len(made) == 2


def test_hours_of_a_cell_are_its_works_hours_one_after_the_other() -> None:
    speed = CpuSpeed(
        train_token_s=1e-3, optimizer_step_s=0.5, prefill_token_s=2e-4, decode_step_s=0.02, decode_row_s=0.001
    )
    work = StageCost(trained_tokens=10_000, shared_tokens=2_000, steps=20, parameters=1)
    assert work.cpu_hours(speed) == pytest.approx((8 + 10) / 3600)
    work = StageCost(prompt_tokens=5_000, generated_tokens=640, rows=32, parameters=1)
    assert work.cpu_hours(speed) == pytest.approx((1 + 20 * 0.052) / 3600)
    assert work.cpu_hours(None) is None
    assert StageCost(trained_tokens=None).cpu_hours(speed) is None


def test_shapes_have_the_parameters_of_the_models(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    read = model_shape(tiny_llama)
    assert read is not None
    assert read.parameters == AutoModelForCausalLM.from_pretrained(tiny_llama).num_parameters()
    for size in (20_000_000, 135_000_000, 7_000_000_000):
        assert ModelShape.of_size(size).parameters == pytest.approx(size, rel=0.15)
    assert model_shape(tmp_path) is None
    (tmp_path / "config.json").write_text('{"hidden_size": "wide"}')
    assert model_shape(tmp_path) is None


def test_every_stage_of_the_embedded_world_has_hours_before_it_is_built(tmp_path: Path) -> None:
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = typed(compose("config", overrides=["study=plw", f"execution.runs={tmp_path}", "tracker=none"]))
    cell = resolve_cell(config)
    speed = CpuSpeed(
        train_token_s=1e-4, optimizer_step_s=1e-3, prefill_token_s=1e-5, decode_step_s=1e-3, decode_row_s=1e-4
    )
    for kind in ("train", "diagnose", "harness", "generate"):
        work = stage_cost(cell, kind)
        assert work is not None
        assert work.cpu_hours(speed)
    shape = cell_shape(cell)
    assert shape is not None
    assert shape.parameters == 586_368  # wide-1 of the package


@pytest.mark.parametrize("layers", [1, 5])
def test_a_measured_speed_is_finite_and_above_zero(layers: int) -> None:
    """Also of a model that is measured at half its widths and fewer layers."""
    shape = ModelShape(vocabulary=500, hidden=32, intermediate=64, layers=layers, heads=4, kv_heads=2)
    formats = NumberFormats(training="bf16-mixed" if layers == 1 else "fp32", scoring="bfloat16")
    speed = measure_speed(shape, formats, threads=1, rows=1, largest=20_000)
    assert 0 < speed.train_token_s < 10
    assert 0 < speed.prefill_token_s < 10
    assert speed.decode_step_s + speed.decode_row_s > 0


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[train,generate]", r"alpaca_eval\.json is not there; fetch it from https://.*model_outputs\.json"),
        ("[judge]", "is not there; fetch it from"),
    ],
)
def test_what_was_planned_without_its_files_does_not_run_without_them(plan: Plan, stages: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_inputs([plan(f"stages={stages}")])


def test_content_counts_once_a_file_is_there(plan: Plan, tmp_path: Path) -> None:
    before = plan()
    (tmp_path / "alpaca_eval.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]))
    after = plan()
    changed = {kind for kind, stage in after.stages.items() if stage.fingerprint != before.stages[kind].fingerprint}
    assert changed == {"generate", "judge"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("lines", [False, True])
def test_a_plan_measures_a_file_as_a_run_reads_it(plan: Plan, tmp_path: Path, encoding: str, lines: bool) -> None:
    """Whatever its form and encoding the work is the same; of a file that no run can read it is unknown, and told."""
    whole = stage_cost(plan(), "train")
    assert whole is not None
    assert whole.trained_tokens
    rows = json.loads((tmp_path / "data.json").read_text())
    path = tmp_path / "other.json"
    path.write_bytes(("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)).encode(encoding))
    assert stage_cost(plan(f"dataset.path={path}"), "train") == whole
    for number, bad in enumerate(
        ("[" * 3000 + "]" * 3000, '[{"output": ' + "1" * 5000 + "}]", '[{"output": NaN}]', "[{")
    ):
        path = tmp_path / f"bad-{number}.json"
        path.write_bytes(bad.encode(encoding))
        found = stage_cost(plan(f"dataset.path={path}"), "train")
        assert found is not None
        assert found.trained_tokens is None
        with pytest.raises(UserError, match=rf"bad-{number}\.json: row 1 "):
            printed(plan(f"dataset.path={path}"))


@pytest.mark.parametrize("study", ["plw", "plw-ablation", "plw-natural", "plw-ratio", "wit", "wit-dpo"])
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_every_stage_of_the_studies_has_a_cost_before_anything_is_here(study: str, scale: str, tmp_path: Path) -> None:
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        axes = typed(compose("config", overrides=[f"study={study}", "scale=mini"])).study.axes.get(scale, {})
        for name in ",".join(names for axis, names in axes.items() if axis.endswith("dataset")).split(","):
            if not name:
                continue
            asked = [f"study={study}", f"scale={scale}", f"dataset={name}", f"execution.runs={tmp_path}/runs"]
            cell = resolve_cell(typed(compose("config", overrides=asked)))
            for stage in cell.config.stages:
                work = stage_cost(cell, stage)
                assert judge_calls(cell) if work is None else work.operations, (name, stage)
                assert not list(unknown_sizes(cell, stage)), (name, stage)


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (["dataset.path=https://a.example/rows.json"], "+execution.cost.datasets.d={examples: N, tokens: N}"),
        (["model.path=owner/name"], "model.parameters=N"),
        (["suite.tasks.piqa.documents=null"], "suite.tasks.piqa.documents=N"),
        (["suite.prompts.pandalm.documents=null"], "suite.prompts.pandalm.documents=N"),
    ],
)
def test_of_an_unknown_cost_the_plan_names_the_field_that_tells(plan: Plan, overrides: list[str], field: str) -> None:
    lines = [line for line in printed(plan(*overrides)).splitlines() if line.startswith("Unknown: ")]
    assert len(lines) == 1
    assert f"({field})" in lines[0].replace("'", "")
    given = register_schema([field.replace("N", "7")], sweep=False)
    assert "Unknown: " not in printed(plan(*overrides, *given))


@pytest.mark.parametrize("local", [True, False])
def test_a_plan_says_where_local_files_of_benchmarks_are_taken_from(plan: Plan, *, local: bool) -> None:
    text = printed(plan("stages=[harness]", *["+suite.tasks.piqa.local.validation=rows.jsonl"] * local))
    assert ("from the hub, or suite.data=FOLDER" in text) == local
