"""What the stages of one cell share, made when first asked for: data, models, the judge's server, the tracker."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from plw import world
from plw.data.prompts import PromptRecord, load_answers, load_prompts, opponent_wanted, reference_answers
from plw.errors import UserError
from plw.files.reading import read_json
from plw.paths import MODEL
from plw.pipeline.cell import Cell
from plw.pipeline.judge_cache import JudgeCache
from plw.pipeline.tracking import Tracker, open_tracker
from plw.pipeline.unpacking import unpack_model
from plw.progress import Progress
from plw.results.stage_state import StateKeeper

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from plw.data.pairs import PreparedPairs
    from plw.data.prepare import PreparedData
    from plw.evaluate.judging.judge import Judge
    from plw.evaluate.judging.mt_bench_files import Question
    from plw.evaluate.models.hf import EvalModel
    from plw.evaluate.models.vllm import VllmModel
    from plw.launch.group import Group

CheckLease = Callable[[], None]

SHARES = ".shares"
"""Folder, in a stage's, of what its processes write each for itself."""


class CellContext:
    """One cell's inputs and tools; a context manager, because it opens a tracker and perhaps a server."""

    def __init__(
        self,
        cell: Cell,
        progress: Callable[[str, int, int, str], None],
        judges: JudgeCache,
        group: "Group | None" = None,
    ) -> None:
        self.cell = cell
        self.group = group
        """The processes that share out a part of a stage, where this is one of them."""
        self.judges = judges
        self.config = cell.config
        self.state = StateKeeper()
        """Where the stage under way stands."""
        self._progress = progress
        self._open = ExitStack()

    def __enter__(self) -> "CellContext":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        self.release_model()

    @property
    def world_folder(self) -> Path:
        """Where the embedded world lies, built or not."""
        return world.folder(self.config.world, self.config.execution.cache_folder)

    def make_shared_inputs(self) -> None:
        """Build the embedded world, and unpack the model, where the cell needs it and it is not there yet."""
        if self.cell.needs_world():
            world.build(self.config.world, self.config.execution.cache_folder, always_verify=self.always_verify)
        unpack_model(self.cell)

    @property
    def always_verify(self) -> bool:
        """Whether files are read again each time they are opened."""
        return self.config.execution.verify == "always"

    def relative_path(self, folder: Path) -> str:
        """A folder below the runs folder, as records name it."""
        return folder.relative_to(self.config.execution.runs_folder).as_posix()

    def progress_for(self, stage: str, check_lease: CheckLease | None = None) -> Progress:
        """Passes progress on, and stops the work there once the claim is lost."""

        def progress(done: int, total: int, note: str = "") -> None:
            if check_lease is not None:
                check_lease()
            self.state.move(done, total, note)
            self._progress(stage, done, total, note)

        return progress

    def trained_record(self) -> dict[str, Any]:
        """The record of the finished training.

        Raises:
            UserError: there is none; a later stage was asked for without it.
        """
        record = self.cell.stages["train"].finished_record()
        if record is None:
            raise UserError(f"{self.cell.label}: not trained yet; add train to stages")
        return record

    def fine_tuned_folder(self) -> Path:
        """The model of the finished training."""
        self.trained_record()
        return self.cell.stages["train"].product(MODEL, always=self.always_verify)

    def model_folder(self) -> Path:
        """The model that is evaluated: the preference stage's where the cell has one, else the fine-tuned one.

        Raises:
            UserError: there is none; a later stage was asked for without it.
        """
        if self.cell.pairs is None:
            return self.fine_tuned_folder()
        stage = self.cell.last_training
        if stage.finished_record() is None:
            raise UserError(f"{self.cell.label}: not trained on its pairs yet; add {stage.kind} to stages")
        return stage.product(MODEL, always=self.always_verify)

    def base_folder(self) -> Path:
        """The base model's weights on this machine."""
        if self.cell.model.path.is_dir():
            return self.cell.model.path
        from huggingface_hub import snapshot_download

        patterns = ["*.safetensors", "*.json"]
        return Path(
            snapshot_download(self.cell.model.location, revision=self.config.model.revision, allow_patterns=patterns)
        )

    @property
    def task_files(self) -> dict[str, dict[str, Path]]:
        """Benchmark -> split -> local file, of the benchmarks that do not read the hub."""
        return {name: {split: item.path for split, item in of.items()} for name, of in self.cell.files.items()}

    def prompts(self, benchmark: str) -> list[PromptRecord]:
        """The prompts of a long-generation benchmark, as many as the suite asks for."""
        return load_prompts(self.cell.prompts[benchmark].path)[: self.config.suite.prompts[benchmark].limit]

    def questions(self, benchmark: str) -> "list[Question]":
        """The questions of a benchmark of dialogues, as many as the suite asks for."""
        from plw.evaluate.judging.mt_bench_files import load_questions

        references = self.cell.grading[benchmark].get("references")
        found = load_questions(self.cell.prompts[benchmark].path, None if references is None else references.path)
        return found[: self.config.suite.prompts[benchmark].limit]

    def wordings(self) -> list[tuple[list[str], str]]:
        """(wordings of an instruction, its input) of each prompt that the sensitivity is measured on."""
        from plw.evaluate.sensitivity.variants import load_wordings

        assert self.cell.sensitivity is not None
        assert self.config.suite.sensitivity is not None
        return load_wordings(self.cell.sensitivity.path, self.config.suite.sensitivity)

    def references(self, benchmark: str) -> list[str]:
        """The answers that a benchmark's are compared with: the opponent's, or those of the prompts' own file."""
        prompts, opponent = self.prompts(benchmark), self.cell.opponents.get(benchmark)
        if opponent is not None:
            return load_answers(opponent.path, prompts)
        return reference_answers(prompts, self.cell.prompts[benchmark].path, opponent_wanted(benchmark))

    def output(self, kind: str) -> Path:
        """Where a stage's files go: its folder, or this process's own part of it."""
        folder = self.cell.stages[kind].folder
        return folder if self.group is None else folder / SHARES / str(self.group.rank)

    def answers(self, benchmark: str) -> list[dict[str, Any]]:
        """The finished answers to a benchmark's prompts, in their order.

        Raises:
            UserError: there are none yet; the judge was asked for without them.
        """
        if self.cell.stages["generate"].finished_record() is None:
            raise UserError(f"{self.cell.label}: no answers to judge yet; add generate to stages")
        file = self.cell.stages["generate"].product(f"{benchmark}.json", always=self.always_verify)
        answers: list[dict[str, Any]] = read_json(file)
        return answers

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The base model's tokenizer."""
        from plw.data.tokenizer import load_tokenizer

        model = self.config.model
        return load_tokenizer(
            self.cell.model.location, revision=model.revision, trust_remote_code=model.trust_remote_code
        )

    @cached_property
    def data(self) -> "PreparedData":
        """The training data, encoded and measured.

        Raises:
            UserError: it cannot be had, or it is no longer what the cell was trained on.
        """
        from plw.data.prepare import prepare
        from plw.data.sources import local_files

        data = prepare(
            self.config.dataset,
            local_files(self.config.dataset, self.cell.dataset, self.config.execution.cache_folder),
            self.config.template,
            self.tokenizer,
            max_length=self.config.recipe.max_length,
            seed=self.config.seed,
            fine_roles=bool(self.config.loss.roles.given),
        )
        record = self.cell.stages["train"].finished_record() or {}
        trained_on = record.get("data", {}).get("content", data.content)
        if trained_on != data.content:
            raise UserError(
                f"dataset.path={self.config.dataset.path}: what lies there now has SHA-256 {data.content}, but "
                f"{self.cell.label} was trained on {trained_on}; pin the file with dataset.sha256 or dataset.revision"
            )
        return data

    @cached_property
    def pairs(self) -> "PreparedPairs":
        """The preference stage's pairs, encoded.

        Raises:
            UserError: they cannot be had, or one of them cannot be learned from.
        """
        from plw.data.pairs import prepare_pairs
        from plw.data.sources import local_files

        assert self.cell.pairs is not None
        preference = self.config.preference
        files = local_files(preference, self.cell.pairs, self.config.execution.cache_folder)
        return prepare_pairs(preference, files, self.config.template, self.tokenizer)

    @cached_property
    def loaded(self) -> "EvalModel":
        """The trained model in memory."""
        import torch

        from plw.evaluate.models.hf import EvalModel
        from plw.launch.device import device_in_group, device_of

        execution, trusted = self.config.execution, self.config.model.trust_remote_code
        torch.set_num_threads(execution.thread_count)
        device = (
            device_of(execution.device)
            if self.group is None
            else device_in_group(execution.device, execution.processes)
        )
        loaded = EvalModel.load(self.model_folder(), str(device), self.config.suite.dtype, trust_remote_code=trusted)
        return replace(loaded, group=self.group)

    def release_model(self) -> None:
        """Give back the memory of the trained model, which others need; it is loaded anew when next asked for."""
        loaded: EvalModel | None = self.__dict__.pop("loaded", None)
        if loaded is not None:
            loaded.release()

    @cached_property
    def vllm(self) -> "VllmModel":
        """The trained model in vLLM, which takes the memory that the other copy had."""
        from plw.evaluate.models.vllm import load_vllm

        self.release_model()
        suite, trusted = self.config.suite, self.config.model.trust_remote_code
        return load_vllm(self.model_folder(), dtype=suite.dtype, seed=suite.bootstrap_seed, trust_remote_code=trusted)

    @property
    def eval_model(self) -> "EvalModel | VllmModel":
        """The trained model in what the suite asks for."""
        return self.vllm if self.config.suite.backend == "vllm" else self.loaded

    @property
    def judge(self) -> "Judge":
        """The cell's judge, which the worker may hold from the cell before.

        A judge from weights gets the memory that the trained model would take.
        """
        if self.cell.judge_weights is not None:
            self.release_model()
        return self.judges.judge(self.cell, self.world_folder / "facts.json")

    @cached_property
    def tracker(self) -> Tracker:
        """The cell's run on the tracker."""
        config, cell = self.config, self.cell
        tracker = open_tracker(
            config.tracker,
            folder=cell.folder,
            id=cell.fingerprint[:16],
            name=cell.label,
            group=config.runs_name,
            config={key: value for key, value in cell.row().to_dict().items() if key not in ("payload", "created")},
        )
        self._open.callback(tracker.close)
        return tracker
