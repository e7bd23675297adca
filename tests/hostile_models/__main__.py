"""`python -m tests.hostile_models DIRECTORY`: write the corpus there, one .keras file each."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.hostile_models import CORPUS


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, one in CORPUS.items():
        (directory / f"{name.replace(' ', '-')}.keras").write_bytes(one.make())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
