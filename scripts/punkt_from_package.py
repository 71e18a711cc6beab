"""nltk's punkt_tab for English, which scores IFEval, from a package of the Python index instead of nltk's server.

python scripts/punkt_from_package.py --out data/nltk
export NLTK_DATA=$PWD/data/nltk

The package llama-index-core (MIT) carries a copy of nltk's files; nothing else of it is used.
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llama-index-core==0.14.25"
INSIDE = "llama_index/core/_static/nltk_cache/"
FOLDER = "tokenizers/punkt_tab/english/"


def main() -> None:
    """Fetch the package and take the folder out of it."""
    sys.path.insert(0, str(Path(__file__).parent))
    from package_files import fetched

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/nltk"), help="folder that NLTK_DATA is to name")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(fetched(PACKAGE, Path(folder))) as archive:
        names = [name for name in archive.namelist() if name.startswith(INSIDE + FOLDER)]
        for name in names:
            file = out / name.removeprefix(INSIDE)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.read(name))
    if not names:
        sys.exit(f"{PACKAGE} holds no {FOLDER}")
    print(f"{out / FOLDER}: {len(names)} files; export NLTK_DATA={out.absolute()}")


if __name__ == "__main__":
    main()
