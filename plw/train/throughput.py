"""How fast a step was: tokens a second, and on a GPU the share of its peak and the memory it took."""

import re
from dataclasses import dataclass
from typing import Any

import torch

from plw.train.batching.counts import TokenCounts
from plw.train.model.load import LoadedModel
from plw.train.model.parallel import layers

PEAK_FLOPS = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "H800": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "B200": 2250e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""Dense bf16 FLOP/s by a part of the device's name, from the makers' data sheets; the first that fits counts."""

GIB = 2**30
KEYS_AND_VALUES = re.compile(r"(?:^|\.)[kv]_proj\.")
"""Names of the last layer's parameters that every token goes through."""


@dataclass(frozen=True, kw_only=True)
class ModelFlops:
    """What a model computes for a step's tokens.

    FLOPs are the model's own, as the PaLM paper counts them (appendix B): 6 a matrix parameter and token, and
    12 * layers * width for each pair of a token and one that it sees; recomputation and padding do not count, nor does
    what examples share count more than once. The head counts for predictions, the input embedding for none, and the
    last layer, but for its keys and values, for the tokens that go through it.
    """

    body: int
    """Matrix parameters of the decoder, without an embedding or the part of its last layer below."""
    last: int
    """Matrix parameters of the last layer, but those of its keys and values."""
    head: int
    layers: int
    width: int

    @classmethod
    def of(cls, model: Any) -> "ModelFlops":
        """Of a causal language model of transformers."""
        config, decoder, head = model.config.get_text_config(), model.get_decoder(), model.get_output_embeddings()
        tables = {id(head.weight), id(model.get_input_embeddings().weight)}
        body = sum(p.numel() for p in decoder.parameters() if p.ndim > 1 and id(p) not in tables)
        last = sum(
            parameter.numel()
            for name, parameter in layers(decoder)[-1].named_parameters()
            if parameter.ndim > 1 and not KEYS_AND_VALUES.search(name)
        )
        return cls(
            body=body - last,
            last=last,
            head=head.weight.numel(),
            layers=config.num_hidden_layers,
            width=config.hidden_size,
        )

    def of_step(self, counts: TokenCounts) -> int:
        """FLOPs of a step, forward and backward."""
        products = self.body * counts.tokens + self.last * counts.last_tokens + self.head * counts.predictions
        pairs = (self.layers - 1) * counts.pairs + counts.last_pairs
        return 6 * products + 12 * self.width * pairs


class ThroughputMeter:
    """Numbers for the log, about a model on a device shared by ``processes``."""

    def __init__(self, loaded: LoadedModel, device: torch.device, processes: int) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._peak = _peak_flops(device) * processes if self._cuda else 0.0
        self._model = ModelFlops.of(loaded.model)

    def row(self, tokens: int, counts: TokenCounts, seconds: float) -> dict[str, float | None]:
        """The part of the log row about a step on ``tokens`` tokens of examples."""
        flops = self._model.of_step(counts)
        row: dict[str, float | None] = {
            "computed_tokens": counts.tokens,
            "flops": flops,
            "tokens_per_second": round(tokens / seconds, 1),
            "mfu": None,
            "peak_memory_gib": None,
        }
        if self._cuda is not None:
            if self._peak:
                row["mfu"] = round(flops / seconds / self._peak, 4)
            row["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(self._cuda) / GIB, 3)
        return row


def _peak_flops(device: torch.device) -> float:
    """0 for a device that is not in the table."""
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), 0.0)
