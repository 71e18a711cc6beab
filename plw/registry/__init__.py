"""The SQL registry: cells, claims on their stages, scores and curves. The records on disk can always make it again."""

from plw.registry.claim import AlreadyDone, Busy, Claimed
from plw.registry.database import migrate_registry, parse_url, shown_address
from plw.registry.export import export_csv
from plw.registry.garbage import Garbage, find_garbage, remove_garbage
from plw.registry.merge import MergeCounts, merge
from plw.registry.network_disk import network_disk
from plw.registry.outages import sqlite_path
from plw.registry.owner import Owner, abandoned
from plw.registry.reader import FinishedStage, Overview
from plw.registry.rebuild import RebuildCounts, rebuild
from plw.registry.rows import CellRow, CurveRow, StageKey, StageRecord, StageRow
from plw.registry.store import Registry
from plw.registry.verify import Verification, verify_results

__all__ = [
    "AlreadyDone",
    "Busy",
    "CellRow",
    "Claimed",
    "CurveRow",
    "FinishedStage",
    "Garbage",
    "MergeCounts",
    "Overview",
    "Owner",
    "RebuildCounts",
    "Registry",
    "StageKey",
    "StageRecord",
    "StageRow",
    "Verification",
    "abandoned",
    "export_csv",
    "find_garbage",
    "merge",
    "migrate_registry",
    "network_disk",
    "parse_url",
    "rebuild",
    "remove_garbage",
    "shown_address",
    "sqlite_path",
    "verify_results",
]
