"""The contract, compiled from its source as the package keeps it: ``python contracts/compiled.py``.

With ``-`` it is printed instead.
"""

import json
import sys
from pathlib import Path

import vyper

SOURCE = Path(__file__).with_name("LedgerAnchors.vy")
KEPT = Path(__file__).parents[1] / "src" / "einthoven" / "trust" / "ledger-anchors.json"


def compiled() -> str:
    """What the package keeps."""
    found = vyper.compile_code(SOURCE.read_text(), output_formats=["bytecode", "bytecode_runtime"])
    return (
        json.dumps(
            {
                "compiler": f"vyper {vyper.__version__}",
                "creation": found["bytecode"].removeprefix("0x"),
                "runtime": found["bytecode_runtime"].removeprefix("0x"),
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(compiled())
    else:
        KEPT.write_text(compiled())
