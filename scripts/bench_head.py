"""The head's step, forward and backward, in this project's fused loss and in other ways: time, peak memory, error.

python scripts/bench_head.py --json head.json
python scripts/bench_head.py --device cuda --dtype bfloat16 --ways fused full torch cce liger
"""

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    """Parse, run, print."""
    sys.path.insert(0, str(Path(__file__).parent))
    from bench.head import WAYS, HeadStep, compare

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the step")
    parser.add_argument("--hidden", type=int, default=1024, help="width of the hidden states")
    parser.add_argument("--vocab", type=int, default=128_256, help="rows of the head")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of inputs and weight")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=3, help="times that the step is timed, after a first one")
    parser.add_argument("--checked", type=int, default=256, help="tokens whose gradients are compared with float64")
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), default=["fused", "full", "torch"], help="the first is 1"
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the result here")
    options = parser.parse_args()
    from plw.files.writing import write_json_atomic

    step = HeadStep(
        tokens=options.tokens,
        hidden=options.hidden,
        vocabulary=options.vocab,
        device=options.device,
        dtype=options.dtype,
        threads=options.threads,
        repeats=options.repeats,
        checked=options.checked,
    )
    result = compare(step, options.ways)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        write_json_atomic(options.json, result)


if __name__ == "__main__":
    main()
