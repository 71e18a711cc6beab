r"""Train one model on the same data with this engine and with its peers, in turn; prints JSON.

python scripts/bench_train.py --data DATA.json \
    --tokenizer TOKENIZER.model --rounds 3 --json bench.json
python scripts/bench_train.py --data DATA.json --model FOLDER     a real model instead of one of random weights
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Parse, run, print."""
    sys.path.insert(0, str(Path(__file__).parent))
    from bench.setting import CASES, Machine, Size, make_setting, random_model, real_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an Alpaca file")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokenizer", type=Path, help="a tokenizer, for a model of random weights")
    what.add_argument("--model", type=Path, help="a model's folder; --hidden, --layers and --heads are not used")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["as it is", "inverted"], help="data and weight")
    parser.add_argument("--examples", type=int, default=128, help="examples of each case")
    parser.add_argument("--max-length", type=int, default=512, help="tokens of an example at most")
    parser.add_argument("--rounds", type=int, default=3, help="times that each contender runs")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where all of them train")
    parser.add_argument("--precision", choices=("fp32", "bf16-mixed"), default="fp32", help="of all of them")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model")
    parser.add_argument("--layers", type=int, default=6, help="its layers")
    parser.add_argument("--heads", type=int, default=4, help="its attention heads")
    parser.add_argument("--token-budget", type=int, default=4096, help="tokens of our micro-batches")
    parser.add_argument("--sft-micro-batch", type=int, default=4, help="examples of TRL's micro-batches")
    parser.add_argument(
        "--sft-batching",
        choices=("grouped", "padding-free", "packed"),
        default="padding-free",
        help="TRL's micro-batches",
    )
    parser.add_argument("--sft-liger", action="store_true", help="TRL with Liger's kernels")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=("trainer", "grouped", "sft", "weighted", "padded", "packed", "prefix"),
        default=["trainer", "grouped", "sft"],
        help="whom to compare with; the last three are layouts of ours",
    )
    parser.add_argument("--json", type=Path, default=None, help="also write the result here")
    options = parser.parse_args()
    from bench.contenders import SftOptions, contenders
    from bench.rounds import compare

    from plw.errors import UserError
    from plw.files.writing import write_json_atomic

    with tempfile.TemporaryDirectory(prefix="plw-bench-") as place:
        folder = Path(place)
        try:
            size = Size(hidden=options.hidden, layers=options.layers, heads=options.heads)
            setting = make_setting(
                *(
                    real_model(options.model)
                    if options.model
                    else random_model(folder / "model", options.tokenizer, size)
                ),
                data=options.data,
                cases=options.cases,
                examples=options.examples,
                max_length=options.max_length,
                machine=Machine(device=options.device, precision=options.precision, threads=options.threads),
            )
        except UserError as error:
            sys.exit(f"error: {error}")
        rivals = contenders(
            token_budget=options.token_budget,
            sft=SftOptions(micro_batch=options.sft_micro_batch, batching=options.sft_batching, liger=options.sft_liger),
            peers=options.peers,
        )
        result = compare(setting, rivals, rounds=options.rounds)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        write_json_atomic(options.json, result)


if __name__ == "__main__":
    main()
