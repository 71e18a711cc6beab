"""Peak memory of the loss step, fused against all logits at once; prints JSON.

python scripts/bench_memory.py --json memory.json
"""

import argparse
import json
import sys
from pathlib import Path


def main() -> None:
    """Parse, run, print."""
    sys.path.insert(0, str(Path(__file__).parent))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the step")
    parser.add_argument("--hidden", type=int, default=1024, help="width of the hidden states")
    parser.add_argument("--vocab", type=int, default=128_256, help="rows of the head")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--json", type=Path, default=None, help="also write the result here")
    options = parser.parse_args()
    from bench.memory import LossStep, compare

    from plw.files import write_json_atomic

    step = LossStep(tokens=options.tokens, hidden=options.hidden, vocabulary=options.vocab, threads=options.threads)
    result = compare(step)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        write_json_atomic(options.json, result)


if __name__ == "__main__":
    main()
