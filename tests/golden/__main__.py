"""``python -m tests.golden [DIR]``: run the reference vectors of a folder, this package's own by default."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import diffusers

from tests.golden.case import OWN_FOLDER
from tests.golden.check import Verdict, verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what failed, the worst error of each level, and the numbers.

    Returns:
        0 if none failed, 1 if any did, 2 if the folder cannot be read.
    """
    parser = argparse.ArgumentParser("python -m tests.golden", description="Run the reference vectors of a folder.")
    parser.add_argument("folder", nargs="?", type=Path, default=OWN_FOLDER, help="default: this package's own vectors")
    folder = parser.parse_args(arguments).folder
    diffusers.utils.logging.set_verbosity_error()
    results = []
    try:
        for verdict in verdicts(folder):
            results.append(verdict)
            if verdict.status == "failed":
                error = f"error {verdict.error:.2e}, {verdict.share:.2g} times its limit"
                print(f"failed {verdict.name} {verdict.precision}: {verdict.detail} ({error})")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for level in dict.fromkeys(verdict.level for verdict in results):
        print(summary(level, [verdict for verdict in results if verdict.level == level]))
    failed = sum(verdict.status == "failed" for verdict in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def summary(level: str, results: Sequence[Verdict]) -> str:
    """A level's worst error in each precision, and how much of its limit that is."""
    parts = []
    for precision in dict.fromkeys(verdict.precision for verdict in results):
        worst = max((v for v in results if v.precision == precision), key=lambda verdict: verdict.share)
        where = f"{worst.name} {worst.detail}" if worst.error else "every one equal"
        parts.append(f"{precision} {worst.error:.2e} = {worst.share:.2g} of its limit ({where})")
    return f"{level}: worst error " + "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
