"""Where a study's time went: seconds of work by stage from its records, as a Markdown table.

python scripts/stage_times.py runs/plw-mini
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path


def main() -> None:
    """Print the table."""
    from plw.files.reading import read_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="a study's folder below the runs folder")
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = defaultdict(list)
    for path in runs.glob("*/*/*/*/record.json"):
        record = read_json(path)
        seconds[record["kind"]].append(record["seconds"])
    if not seconds:
        sys.exit(f"{runs}: no finished stages there")
    total = sum(map(sum, seconds.values()))
    print("| stage | done | mean seconds | total seconds | share |\n| --- | ---: | ---: | ---: | ---: |")
    for kind, values in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        mean = sum(values) / len(values)
        print(f"| {kind} | {len(values)} | {mean:.2f} | {sum(values):.0f} | {sum(values) / total:.0%} |")


if __name__ == "__main__":
    main()
