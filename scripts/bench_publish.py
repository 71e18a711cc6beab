"""Time what watching and publishing add to a stage: heartbeats with and without progress, and copies to an address.

    python -m scripts.bench_publish [ADDRESS ...]

An address is any that `execution.publish` takes; `moto` starts a local server that speaks S3. Prints a row each.
"""

import argparse
import dataclasses
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from plw.commands.choice import chosen_cell
from plw.pipeline.publishing import STAGE_FILES, publish_missing, publish_stage
from plw.registry import CellRow, Owner, Registry, StageKey
from plw.results.stage_state import StageState

SIZES = (60_000, 8_000, 30_000)
"""Bytes of a stage's items, payload and record."""
STATE = StageState(
    done=40, total=160, note="loss 1.234 (prompt 5.126, completion 7.421)", loss=1.234, tokens_per_second=2742.0
)
CELL = CellRow(
    study="s", scale="t", cell="c" * 64, dataset="d", model="m", prompt_weight=0.1, response_weight=1.0,
    normalizer="nonzero", scope="batch", seed=1, folder="x", payload="{}", created=1.0, recipe="r",
)  # fmt: skip


def milliseconds(works: Iterable[Callable[[], object]]) -> dict[str, float]:
    """Median and 90th percentile of the time of each work."""
    found = []
    for work in works:
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return {"median_ms": round(statistics.median(found), 1), "p90_ms": round(sorted(found)[int(0.9 * len(found))], 1)}


def time_heartbeats(folder: Path, count: int) -> None:
    """Heartbeats of one claim on a SQLite registry."""
    key = StageKey(study="s", scale="t", cell=CELL.cell, name="train")
    owner = Owner.here()
    with Registry.open(f"sqlite:///{folder}/registry.sqlite") as registry:
        registry.ensure_cell(CELL)
        registry.claim(key, kind="train", fingerprint="f", owner=owner, lease_timeout_s=3600)
        for what, progress in (("without progress", None), ("with progress", STATE.to_json())) * 2:
            beats = [lambda text=progress: registry.heartbeat(key, owner.token, progress=text)] * count
            print(json.dumps({"heartbeat": what, **milliseconds(beats)}), flush=True)


def time_copies(address: str, folder: Path, count: int) -> None:
    """Copies of so many stages, one after the other, and a pass that finds nothing missing."""
    config = chosen_cell(["study=plw", "scale=mini"])
    config = dataclasses.replace(
        config, execution=dataclasses.replace(config.execution, runs=str(folder / "runs"), publish=address)
    )
    stages = [folder / "runs" / f"plw-mini/short/wide/c{number}/harness-world" for number in range(count)]
    for stage in stages:
        stage.mkdir(parents=True, exist_ok=True)
        for name, size in zip(STAGE_FILES, SIZES, strict=True):
            (stage / name).write_bytes(os.urandom(size))
    row = milliseconds([lambda stage=stage: publish_stage(config, stage) for stage in stages])
    start = time.perf_counter()
    found = publish_missing(config, stages)
    row |= {"missing_pass_s": round(time.perf_counter() - start, 2)}
    print(json.dumps({"address": address, **row, "present": found.present, "failed": len(found.failed)}), flush=True)


def start_moto() -> str:
    """A bucket of moto's server, in this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "benchmark")
    os.environ |= keys | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    boto3.client("s3").create_bucket(Bucket="results")
    return "s3://results/copy"


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("addresses", nargs="*", default=["file", "moto"])
    parser.add_argument("--count", type=int, default=100, help="stages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        time_heartbeats(folder, 3 * options.count)
        for address in options.addresses:
            known = {"file": lambda: f"file://{folder}/copy", "moto": start_moto}
            time_copies(known.get(address, lambda address=address: address)(), folder, options.count)


if __name__ == "__main__":
    main()
