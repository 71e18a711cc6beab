"""Sources: fetched once and whole, found again in the cache, checked; without a network the error says what to do."""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from plw.config import DatasetConfig, identity_fields
from plw.data.inputs import Resolver
from plw.data.prepare import sample
from plw.data.records import AlpacaRecord, ChatRecord, Record, load_records
from plw.data.sources import content_hash, local_files, place_of
from plw.errors import UserError
from plw.paths import conf_folder

ROWS = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(8)]
BODY = json.dumps(ROWS).encode()
SHA = hashlib.sha256(BODY).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """/data.json is whole, /cut.json ends early, /away.json leads off this machine, all else is not there."""

    asked: list[str]

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if self.path == "/away.json":
            self.send_response(302)
            self.send_header("Location", "http://example.org/data.json")
            self.end_headers()
        elif self.path.split("?")[0] in ("/data.json", "/cut.json"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY if self.path.startswith("/data") else BODY[:50])
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a small server on loopback."""
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def dataset(path: str, **fields: Any) -> DatasetConfig:
    return DatasetConfig(name="d", path=path, **fields)


def fetch(config: DatasetConfig, cache: Path, **fields: Any) -> list[Path]:
    found = Resolver(world_folder=cache, world_fingerprint="w", cache=cache).data(config)
    return local_files(config, found, cache, **fields)


def identity(config: DatasetConfig) -> str:
    return Resolver(world_folder=Path("w"), world_fingerprint="w", cache=Path("w")).data(config).content


def test_an_address_is_fetched_once_and_whole(server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "plw.data.sources")
    told: list[tuple[int, int]] = []
    config = dataset(f"{server}/data.json", sha256=SHA)
    for _ in range(2):
        (path,) = fetch(config, tmp_path, progress=lambda done, total, note="": told.append((done, total)))
    assert path.read_bytes() == BODY
    assert path.name == "data.json"
    assert Handler.asked == ["/data.json"]
    fetched, cached = (record.getMessage() for record in caplog.records if record.name == "plw.data.sources")
    assert "fetched" in fetched
    assert f"from the cache: {path}" in cached
    assert told == [(len(BODY), len(BODY))]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert load_records(path, "alpaca")[7] == AlpacaRecord(instruction="Say 7.", output="It is 7.")


@pytest.mark.parametrize(
    ("name", "words"),
    [("cut.json", f"50 bytes, expected {len(BODY)}"), ("none.json", "404"), ("away.json", "allowed are https")],
)
def test_what_cannot_be_fetched_leaves_nothing(server: str, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        fetch(dataset(f"{server}/{name}"), tmp_path)
    assert "\n" not in str(caught.value)
    assert f"{server}/{name}" in str(caught.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_without_a_network_a_file_in_the_named_place_will_do(tmp_path: Path) -> None:
    # A port of this machine that nobody listens on stands for a network that is not there.
    config = dataset("http://127.0.0.1:1/owner/data.json")
    with pytest.raises(UserError, match=r"http://127.0.0.1:1/owner/data.json: cannot be fetched .*put it at") as caught:
        fetch(config, tmp_path)
    place = Path(str(caught.value).rpartition("put it at ")[2])
    assert place == place_of(config.path, tmp_path)
    place.write_bytes(BODY)
    assert fetch(config, tmp_path) == [place]
    with pytest.raises(UserError, match=r"SHA-256 of the content is .* but dataset.sha256=0000"):
        fetch(dataset(config.path, sha256="0" * 64), tmp_path)


def test_queries_and_odd_paths_stay_apart_and_inside(tmp_path: Path) -> None:
    addresses = [
        f"https://h.org/{path}" for path in ("a.json", "a.json?v=1", "a.json?v=2", "../b.json", "%2e%2e/c.json")
    ]
    places = [place_of(address, tmp_path) for address in addresses]
    assert len(set(places)) == len(places)
    assert all(place.resolve().is_relative_to(tmp_path / "data" / "h.org") for place in places)
    assert [place.suffix for place in places] == [".json"] * 5


@pytest.mark.parametrize("address", ["http://example.org/x.json", "ftp://example.org/x.json", "file:///etc/x.json"])
def test_only_safe_addresses(address: str) -> None:
    with pytest.raises(UserError, match="allowed are https addresses"):
        identity(dataset(address))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UserError, match="holds a name or password") as caught:
        identity(dataset("https://me:secret@example.org/x.json"))
    assert "secret" not in str(caught.value)


HUB = {"path": "hub:owner/name", "revision": REVISION, "file": "data/train-*.parquet"}


def write_shards(folder: Path, total: int = 2, left_out: int | None = None) -> None:
    """The rows as the `datasets` library writes a table in parts."""
    from datasets import Dataset

    (folder / "data").mkdir(parents=True)
    whole = Dataset.from_list([{"id": n, "dialog": _dialog(row)} for n, row in enumerate(ROWS)])
    for part in range(total):
        if part != left_out:
            name = f"data/train-{part:05d}-of-{total:05d}-0a1b.parquet"
            whole.shard(total, part, contiguous=True).to_parquet(folder / name)


def _dialog(row: dict[str, str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["output"]}]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The hub's own cache, empty, and no way to the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_hub_dataset_offline_says_what_to_fetch_and_where_to_put_it(offline: Path, tmp_path: Path) -> None:
    config = dataset(**HUB, format="chat", columns={"messages": "dialog"})
    with pytest.raises(UserError, match="cannot be fetched") as caught:
        fetch(config, tmp_path)
    line = str(caught.value)
    assert f"hf download owner/name --repo-type dataset --revision {REVISION} --include 'data/train-*.parquet'" in line
    place = Path(line.rpartition(" to ")[2])
    write_shards(place)
    files = fetch(config, tmp_path)
    assert [file.name[:11] for file in files] == ["train-00000", "train-00001"]
    records = load_records(files, "chat", config.columns)
    assert [record.messages[1].content for record in records if isinstance(record, ChatRecord)] == [
        row["output"] for row in ROWS
    ]
    # The same conversations, in Alpaca's form.
    ways = {"instruction": "dialog[0].content", "output": "dialog[-1].content"}
    assert load_records(files, "alpaca", ways)[3] == AlpacaRecord(instruction="Say 3.", output="It is 3.")


def test_the_hubs_own_cache_is_used(offline: Path, tmp_path: Path) -> None:
    write_shards(offline / "datasets--owner--name" / "snapshots" / REVISION)
    assert len(fetch(dataset(**HUB), tmp_path / "cache")) == 2
    with pytest.raises(UserError, match=rf"hub:owner/name: nosuch.json at revision {REVISION}: no such file there"):
        fetch(dataset(**{**HUB, "file": "nosuch.json"}), tmp_path / "cache")


def test_a_table_with_a_part_missing_is_refused(offline: Path, tmp_path: Path) -> None:
    places = (
        offline / "datasets--owner--name" / "snapshots" / REVISION,
        tmp_path / "cache/data/huggingface.co/datasets/owner/name" / REVISION,
    )
    for place in places:
        write_shards(place, total=3, left_out=1)
        with pytest.raises(UserError, match="part 1 of 3 of train is not among the files") as caught:
            fetch(dataset(**HUB), tmp_path / "cache")
        assert str(place) in str(caught.value)


def test_identity_is_known_without_the_file(tmp_path: Path) -> None:
    address = "https://example.org/data.json"
    contents = [
        identity(dataset(address)),
        identity(dataset("https://example.org/other.json")),
        identity(dataset(**HUB)),
        identity(dataset(**{**HUB, "revision": "f" * 40})),
        identity(dataset(**{**HUB, "file": "data/test-*.parquet"})),
    ]
    assert len(set(contents)) == 5
    # A pinned file is the same data wherever it comes from.
    (tmp_path / "data.json").write_bytes(BODY)
    assert identity(dataset(address, sha256=SHA)) == identity(dataset(str(tmp_path / "data.json"))) == SHA
    with pytest.raises(UserError, match="its SHA-256 is"):
        identity(dataset(str(tmp_path / "data.json"), sha256="0" * 64))
    assert content_hash([tmp_path / "data.json"]) == SHA


def test_the_new_fields_at_rest_are_in_no_identity() -> None:
    new = {"revision", "file", "sha256", "columns", "sample"}
    assert not new & identity_fields(dataset("x.json")).keys()
    assert identity_fields(dataset("x.json", columns={"output": "answer"}, sample=3)).keys() >= {"columns", "sample"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"path": "hub:owner/name", "file": "x.json"}, "dataset.revision=None does not go with"),
        ({"path": "hub:owner/name", "revision": "r"}, "dataset.file=None does not go with"),
        ({"path": "x.json", "revision": "r"}, "dataset.revision=r does not go with"),
        ({**HUB, "revision": "main"}, "dataset.revision=main may move; give the commit"),
        ({**HUB, "file": "../x.json"}, "leaves the repository"),
        ({"path": "x.json", "sha256": "abc"}, "no SHA-256"),
        (
            {"path": "x.json", "columns": {"messages": "m"}},
            "dataset.columns=messages is not known; allowed: history, input",
        ),
        ({"path": "x.json", "format": "turns", "inversion": "short"}, "needs dataset.format=alpaca"),
    ],
)
def test_mistakes_in_the_config(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        dataset(**fields)


def test_a_sample_is_the_same_every_time_and_in_order() -> None:
    records: list[Record] = [AlpacaRecord(instruction=str(n), output="x") for n in range(50)]
    drawn = sample(records, 20)
    assert drawn == sample(records, 20) == [record for record in records if record in drawn]
    assert len(set(drawn)) == 20
    assert drawn != records[:20]
    assert sample(records, None) == records
    with pytest.raises(UserError, match=r"dataset.sample=51 is more than the dataset's 50 records"):
        sample(records, 51)


TURN = [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "2"}]
PUBLISHED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "dolly": (
        ("databricks-dolly-15k.jsonl",),
        {"instruction": "Add.", "context": "1 1", "response": "2", "category": "closed_qa"},
    ),
    "ultrafeedback": (
        ("data/train_sft-00000-of-00001.parquet",),
        {
            "prompt": "Add.",
            "prompt_id": "7",
            "chosen": TURN,
            "rejected": TURN[:1],
            "messages": TURN,
            "score_chosen": 9.0,
        },
    ),
    "lima": (("train.jsonl",), {"conversations": ["Add.", "2"], "source": "stackexchange"}),
    "tulu-v2-150k": (
        tuple(f"data/train-{part:05d}-of-00003-99ee8754042a69f6.parquet" for part in range(3)),
        {"dataset": "lima", "id": "lima_0", "messages": TURN},
    ),
}
"""Dataset's config -> the files of its repository, and a row in the form that it has there."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_configs_read_what_the_hub_has(name: str, offline: Path, tmp_path: Path) -> None:
    import pyarrow
    import yaml
    from pyarrow import parquet

    config = DatasetConfig(
        **{**yaml.safe_load((conf_folder() / f"dataset/{name}.yaml").read_text(encoding="utf-8")), "sha256": None}
    )
    files, row = PUBLISHED[name]
    place = tmp_path / "data/huggingface.co/datasets" / config.path.removeprefix("hub:") / str(config.revision)
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("jsonl"):
            (place / file).write_text(json.dumps(row) + "\n")
        else:
            parquet.write_table(pyarrow.Table.from_pylist([row]), place / file)
    records = load_records(fetch(config, tmp_path), config.format, config.columns)
    assert len(records) == len(files)
    for record in records:
        if isinstance(record, ChatRecord):
            assert [(turn.role, turn.content) for turn in record.messages] == [("user", "Add."), ("assistant", "2")]
        else:
            assert record == AlpacaRecord(instruction="Add.", input="1 1" if name == "dolly" else "", output="2")
