"""Time causal attention in bf16 on a CPU, forward and backward, written out and by torch's kernel, and how exact it is.

    OMP_NUM_THREADS=2 python -m scripts.bench_attention [--tokens 60 100 182 256 400 512] [--heads 9] [--groups 3]

Both take turns. For each length: milliseconds of one example in one layer (the least of the repeats), the ratio, and
how far output and gradients are from those in float64, as shares of their norms.
"""

import argparse
import json
import time
from collections.abc import Callable


def main() -> None:
    """Measure each length; print a line of JSON for each."""
    import torch
    from torch import Tensor
    from torch.nn.functional import scaled_dot_product_attention

    from plw.train.model.written_attention import causal_attention

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[60, 100, 182, 256, 400, 512])
    parser.add_argument("--heads", type=int, default=9)
    parser.add_argument("--groups", type=int, default=3, help="heads of keys and values")
    parser.add_argument("--width", type=int, default=64, help="of a head")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()

    def torchs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    ways: dict[str, Callable[..., Tensor]] = {"written": causal_attention, "torch": torchs}
    for tokens in options.tokens:
        dice = torch.Generator().manual_seed(tokens)
        # As a layer has them: heads beside each other in memory.
        leaves = [
            torch.randn(1, tokens, heads, options.width, generator=dice).transpose(1, 2).bfloat16().requires_grad_()
            for heads in (options.heads, options.groups, options.groups)
        ]
        slope = torch.randn(1, options.heads, tokens, options.width, generator=dice).bfloat16()

        def both(way: Callable[..., Tensor], of: list[Tensor], down: Tensor) -> list[Tensor]:
            output = way(*of)
            return [output.detach(), *torch.autograd.grad(output, of, down)]

        exact = both(torchs, [leaf.detach().double().requires_grad_() for leaf in leaves], slope.double())
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(options.repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                both(way, leaves, slope)
                least[name] = min(least[name], time.perf_counter() - started)
        print(
            json.dumps(
                {
                    "tokens": tokens,
                    "threads": torch.get_num_threads(),
                    "ms": {name: round(1000 * seconds, 2) for name, seconds in least.items()},
                    "times_ours": round(least["torch"] / least["written"], 2),
                    "distance": {
                        name: [
                            round(float((found - true).norm() / true.norm()), 4)
                            for found, true in zip(both(way, leaves, slope), exact, strict=True)
                        ]
                        for name, way in ways.items()
                    },
                }
            )
        )


if __name__ == "__main__":
    main()
