"""How fast a step was: tokens a second, and on a GPU the share of its peak and the memory it took."""

import torch

from plw.train.batching.counts import TokenCounts
from plw.train.model.load import LoadedModel

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


class ThroughputMeter:
    """Numbers for the log, about a model on a device shared by ``processes``.

    FLOPs are the model's own, as the PaLM paper counts them (appendix B): 6 a matrix parameter and token, and
    12 * layers * width for each pair of a token and one that it sees; recomputation and padding do not count, nor does
    what examples share count more than once. The head counts for predictions, the input embedding for none.
    """

    def __init__(self, loaded: LoadedModel, device: torch.device, processes: int) -> None:
        config = loaded.model.config.get_text_config()
        self._cuda = device if device.type == "cuda" else None
        self._peak = _peak_flops(device) * processes if self._cuda else 0.0
        tables = {id(loaded.head_weight_VD), id(loaded.model.get_input_embeddings().weight)}
        self._body = sum(p.numel() for p in loaded.decoder.parameters() if p.ndim > 1 and id(p) not in tables)
        self._head = loaded.head_weight_VD.numel()
        self._attention = 12 * config.num_hidden_layers * config.hidden_size

    def row(self, tokens: int, counts: TokenCounts, seconds: float) -> dict[str, float | None]:
        """The part of the log row about a step on ``tokens`` tokens of examples."""
        row: dict[str, float | None] = {
            "computed_tokens": counts.tokens,
            "tokens_per_second": round(tokens / seconds, 1),
            "mfu": None,
            "peak_memory_gib": None,
        }
        if self._cuda is not None:
            if self._peak:
                flops = (
                    6 * (self._body * counts.tokens + self._head * counts.predictions) + self._attention * counts.pairs
                )
                row["mfu"] = round(flops / seconds / self._peak, 4)
            row["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(self._cuda) / GIB, 3)
        return row


def _peak_flops(device: torch.device) -> float:
    """0 for a device that is not in the table."""
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), 0.0)
