"""How fast this machine's cores train, read and write with a model of a given shape: a measurement of a few seconds.

A Llama of the shape's widths is measured with one layer and with three; deeper ones follow on the straight line, and a
model that is too large for that is measured at half its widths, again and again halved, and scaled by its parameters.
"""

import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from plw.errors import UserError
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.launch.threads import torch_threads
from plw.results.identity import fingerprint
from plw.runtime.machine import available_cores

CACHE_FILE = "cpu-speed.json"
"""Measurements by machine, in the folder `execution.cache`."""
MEASURED_LAYERS = (1, 3)
"""A model of as many layers as the second or fewer is measured whole."""
MAX_PARAMETERS = 120_000_000
"""Parameters of a model that is measured."""
MEASURED_TOKENS, READ_ROWS, DECODE_ROWS, DECODE_STEPS = 64, 4, (1, 16), 4
STEP_ROWS, STEP_OPERATIONS = 4, 30e9
"""Rows of a measured step of training at most; and its operations, which are less than a second on one core."""
DISTURBED = 0.1
"""Share of the cores that other work may have while a speed is measured; what is measured under more does not last."""
ROUNDS, ROUNDS_S = 5, 0.3
"""The best of so many rounds counts, or of fewer once they have taken so long."""
HEAD_DIMENSION = 64
SINGLE_PRECISION = "float32"
TRAINED_IN = {"fp32": SINGLE_PRECISION, "bf16-mixed": "bfloat16", "bf16": "bfloat16"}
"""Precision of a recipe -> format of its matrix products, as torch names it."""
PRODUCT_ROWS, PRODUCT_WIDTH = (256, 512), 512
"""Of the products that formats are compared by: a quarter of a second where a format is a thousand times slower."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The widths of a decoder."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool = True

    @property
    def layer_parameters(self) -> int:
        """Numbers in one layer of a Llama."""
        attention = 2 * self.hidden**2 * (1 + self.kv_heads / self.heads)
        return round(attention + 3 * self.hidden * self.intermediate + 2 * self.hidden)

    @property
    def parameters(self) -> int:
        """Numbers in a Llama of this shape."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters + self.hidden

    @classmethod
    def of_size(cls, parameters: int) -> "ModelShape":
        """A shape of about so many parameters, with one layer for each 20 of width."""
        hidden = max(64, round((parameters * 20 / 12) ** (1 / 3) / HEAD_DIMENSION) * HEAD_DIMENSION)
        heads = hidden // HEAD_DIMENSION
        made = cls(
            vocabulary=32_000, hidden=hidden, intermediate=hidden * 8 // 3, layers=1, heads=heads, kv_heads=heads
        )
        left = parameters - made.vocabulary * hidden
        return replace(made, layers=max(1, round(left / made.layer_parameters)))


@dataclass(frozen=True, kw_only=True)
class NumberFormats:
    """What a processor's speed depends on beside the shape."""

    training: str
    """As `recipe.precision`."""
    scoring: str
    """As `suite.dtype`."""

    @property
    def times_of_fp32(self) -> float:
        """How much slower than in fp32 the slower of the two is here, 1 where neither is."""
        return max(1.0, times_of_fp32(TRAINED_IN[self.training]), times_of_fp32(self.scoring))


@dataclass(frozen=True, kw_only=True)
class CpuSpeed:
    """Seconds that a model's work takes on the cores of one cell."""

    train_token_s: float
    """Forward and backward of one token, the head's with it."""
    optimizer_step_s: float
    prefill_token_s: float
    """Reading one token, with its scores over the vocabulary."""
    decode_step_s: float
    """Writing one token of each row that is written at once, besides what each row adds."""
    decode_row_s: float
    others: float = 0.0
    """Share of the machine's cores that other work had meanwhile: all is slower by about that."""

    def seconds(
        self, *, trained: float, steps: float, prompt_tokens: float, generated_tokens: float, rows: int
    ) -> float:
        """Time for tokens trained on in so many steps, tokens read, and tokens written ``rows`` at a time."""
        return (
            trained * self.train_token_s
            + steps * self.optimizer_step_s
            + prompt_tokens * self.prefill_token_s
            + generated_tokens / rows * (self.decode_step_s + rows * self.decode_row_s)
        )


def model_shape(folder: Path) -> ModelShape | None:
    """The shape that a model folder's config.json tells of; None where there is none, or it says too little."""
    try:
        config = read_json(folder / "config.json")
        config = config.get("text_config", config)
    except (UserError, AttributeError):
        return None

    def first(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name)), None)

    hidden, layers = first("hidden_size", "n_embd", "d_model"), first("num_hidden_layers", "n_layer", "num_layers")
    vocabulary, heads = first("vocab_size"), first("num_attention_heads", "n_head", "num_heads")
    if not all(isinstance(value, int) for value in (hidden, layers, vocabulary, heads)):
        return None
    return ModelShape(
        vocabulary=vocabulary,
        hidden=hidden,
        # Gated layers have three matrices, which is what is measured; others two of four widths.
        intermediate=first("intermediate_size", "n_inner", "ffn_dim") or hidden * 8 // 3,
        layers=layers,
        heads=heads,
        kv_heads=first("num_key_value_heads") or heads,
        tied=bool(config.get("tie_word_embeddings", True)),
    )


def step_rows(step_tokens: float) -> int:
    """Rows of MEASURED_TOKENS tokens that are measured for an optimizer step; small steps are slower by the token."""
    return max(1, min(STEP_ROWS, round(step_tokens / MEASURED_TOKENS)))


def cpu_speed(shape: ModelShape, formats: NumberFormats, *, threads: int, rows: int, cache: Path) -> CpuSpeed:
    """Speed of this machine for a shape, from the cache folder where it was measured before, undisturbed.

    Args:
        shape: of the model.
        formats: that it is trained and scored in.
        threads: of one cell.
        rows: of a step, by :func:`step_rows`.
        cache: folder of the cache; where it cannot be written, the next call measures again.
    """
    about = {"shape": asdict(shape), "formats": asdict(formats), "threads": threads, "rows": rows}
    key = f"{machine_name()}: {fingerprint(about)[:16]}"
    known: dict[str, Any] = {}
    before: list[CpuSpeed] = []
    with suppress(UserError, TypeError, ValueError, KeyError):
        known = dict(read_json(cache / CACHE_FILE))
        before = [CpuSpeed(**known[key]["speed"])]
    if any(speed.others < DISTURBED for speed in before):
        return before[0]
    measured = min([measure_speed(shape, formats, threads=threads, rows=rows), *before], key=lambda speed: speed.others)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_json_atomic(cache / CACHE_FILE, known | {key: about | {"speed": asdict(measured)}})
    return measured


def machine_name() -> str:
    """The processor and the cores that this process may use."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {available_cores()} cores"


@cache
def times_of_fp32(product: str) -> float:
    """Times as long as in fp32 that a core of this machine takes for matrix products in a format, as torch names it."""
    with torch_threads(1):  # several would wait for each other where other work has the cores
        return _product_s(product) / _product_s(SINGLE_PRECISION)


def _product_s(product: str) -> float:
    import torch

    left, right = (torch.ones((rows, PRODUCT_WIDTH), dtype=getattr(torch, product)) for rows in PRODUCT_ROWS)
    return _best(lambda: left @ right)


def measure_speed(
    shape: ModelShape, formats: NumberFormats, *, threads: int, rows: int, largest: int = MAX_PARAMETERS
) -> CpuSpeed:
    """Measure now; ``rows`` of MEASURED_TOKENS tokens are a step of training, or fewer where those would take long."""
    import torch

    # What would take minutes in a format that this processor has no instructions for is measured smaller.
    slower = formats.times_of_fp32
    measured, largest = shape, int(largest / slower)
    while (size := replace(measured, layers=min(MEASURED_LAYERS[-1], shape.layers)).parameters) > largest:
        measured = _halved(measured)
    scale = shape.parameters / measured.parameters
    rows = max(1, min(rows, int(STEP_OPERATIONS / slower / (6 * size * MEASURED_TOKENS))))
    started, busy, own = time.monotonic(), _busy_s(), time.process_time()
    with torch_threads(threads), torch.random.fork_rng(devices=[]):
        costs = (_measure if shape.layers <= MEASURED_LAYERS[-1] else _extrapolated)(measured, formats, rows)
    others = _busy_s() - busy - (time.process_time() - own)
    train, optimizer, prefill, one_row, several = (cost * scale for cost in costs)
    row = max(0.0, several - one_row) / (DECODE_ROWS[1] - DECODE_ROWS[0])
    return CpuSpeed(
        train_token_s=train / (rows * MEASURED_TOKENS),
        optimizer_step_s=optimizer,
        prefill_token_s=prefill / (READ_ROWS * MEASURED_TOKENS),
        decode_step_s=max(0.0, one_row - row),
        decode_row_s=row,
        others=max(0.0, others / ((time.monotonic() - started) * (psutil.cpu_count() or 1))),
    )


def _busy_s() -> float:
    """Seconds that all cores of the machine together have worked, or were kept from it by other virtual machines."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in the user's too.
    return float(sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))


def _extrapolated(shape: ModelShape, formats: NumberFormats, rows: int) -> list[float]:
    """What ``_measure`` gives, from models of fewer layers."""
    few, more = (replace(shape, layers=layers) for layers in MEASURED_LAYERS)
    run = (shape.layers - few.layers) / (more.layers - few.layers)
    measured = zip(_measure(few, formats, rows), _measure(more, formats, rows), strict=True)
    # Noise must not make a layer cost less than nothing.
    return [less + max(greater - less, 0.0) * run for less, greater in measured]


def _halved(shape: ModelShape) -> ModelShape:
    heads = max(1, shape.heads // 2)
    return replace(
        shape,
        vocabulary=max(1, shape.vocabulary // 2),
        hidden=heads * (shape.hidden // shape.heads),
        intermediate=max(1, shape.intermediate // 2),
        heads=heads,
        kv_heads=heads if shape.kv_heads == shape.heads else 1,
    )


def _measure(shape: ModelShape, formats: NumberFormats, rows: int) -> list[float]:
    """Seconds: a step's forward and backward, the optimizer, a forward, a token of 1 and of 16 rows."""
    import torch

    from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

    model = _llama(shape).to(torch.bfloat16 if formats.training == "bf16" else torch.float32)
    token_RT = torch.randint(shape.vocabulary, (rows, MEASURED_TOKENS))
    read_RT = torch.randint(shape.vocabulary, (READ_ROWS, MEASURED_TOKENS))
    first_B1 = torch.randint(shape.vocabulary, (DECODE_ROWS[1], 1))
    coefficient_T = torch.full((token_RT.numel(),), 1 / token_RT.numel())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=formats.training == "bf16-mixed"):
            hidden_TD = model.model(input_ids=token_RT, use_cache=False).last_hidden_state.flatten(0, 1)
            loss: Any = weighted_linear_cross_entropy(
                hidden_TD, model.lm_head.weight, token_RT.flatten(), coefficient_T
            ).loss
        loss.backward()

    @torch.inference_mode()
    def read() -> None:
        model(input_ids=read_RT, use_cache=False).logits.log_softmax(-1)

    def write(count: int) -> Callable[[], None]:
        prompt_B1 = first_B1[:count]

        @torch.inference_mode()
        def written() -> None:
            model.generate(
                input_ids=prompt_B1,
                attention_mask=torch.ones_like(prompt_B1),
                max_new_tokens=DECODE_STEPS,
                min_new_tokens=DECODE_STEPS,
                do_sample=False,
            )

        return written

    trained = _best(step)
    optimizer.step()  # makes the moments
    stepped = _best(optimizer.step)
    optimizer.zero_grad(set_to_none=True)
    model.to(getattr(torch, formats.scoring)).eval()
    return [trained, stepped, _best(read), *(_best(write(count)) / DECODE_STEPS for count in DECODE_ROWS)]


def _llama(shape: ModelShape) -> Any:
    """Random weights; transformers' types say little."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            tie_word_embeddings=shape.tied,
            bos_token_id=0,
            eos_token_id=None,
            pad_token_id=0,
        )
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest round, of which none counts that another process took the cores from."""
    best, until = float("inf"), time.monotonic() + ROUNDS_S
    for number in range(ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        work()
        # Time on the processors is the smaller where this process waited, time on the clock where it has several.
        best = min(best, time.perf_counter() - started, time.process_time() - used)
        # The first round also asks the system for memory.
        if number > 0 and time.monotonic() > until:
            break
    return best
