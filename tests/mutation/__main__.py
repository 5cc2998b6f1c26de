"""Which changes of the code do its tests notice? `python -m tests.mutation language` (outside of CI; Linux).

Each mutant is one small change: a comparison, a sum, a number, a condition or a returned value is another one. It is
killed if a test that reaches it fails, or takes too long. Survivors are printed, to be read one by one: some change
nothing that can be seen (they go into equivalent.json, each with its reason), each of the others lacks a test.

Everything is loaded and collected once; each mutant is a forked child in which one function has another code, and
runs only the tests that call this function, the quickest first. Changes of what is made while a module is loaded (a
constant, a default, a decorator) need a child that loads it anew: the tests of its own name first, then the others.
What tests themselves compute while they are collected is that of the code as it is.

Left out, because nothing about a picture or a plan depends on them: docstrings, annotations, the wording of sentences
(f-strings), asserts (they are for the checker of types), and the keywords `strict`, `frozen`, `eq`, `slots`, `kw_only`,
`repr`, `maxsize` and `stacklevel`.

What was found is kept in work/mutation: a mutant that was killed is not tried again as long as its file is the same, a
survivor only when the tests have changed. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from world.statistics import wilson

from .changes import ROOT, Mutant, mutants
from .trial import OPTIONS, Exchange, digest_of, files_digest, loaded, patience, quick_hypothesis

KEPT = ROOT / "work" / "mutation"
TESTS = {
    "language": ["tests/language"],
    "methods": ["tests/methods", "tests/test_golden.py"],
    "attention": ["tests/attention", "tests/test_golden.py"],
}
"""The tests that a room answers to; the reference vectors are those of the maths."""


class Results:
    """What is known of mutants, in a file with a line for each."""

    def __init__(self, path: Path, tests: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._tests, self._known = path, tests, dict[str, bool]()
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            entry = json.loads(line)
            if entry["killed"] or entry["tests"] == tests:
                self._known[entry["mutant"]] = entry["killed"]

    def of(self, mutant: Mutant) -> bool | None:
        """Whether a mutant was killed; None: it is not known."""
        return self._known.get(_name(mutant))

    def add(self, mutant: Mutant, killed: bool) -> None:
        self._known[_name(mutant)] = killed
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"mutant": _name(mutant), "killed": killed, "tests": self._tests}) + "\n")
        print("." if killed else f"\nsurvives: {mutant}", end="" if killed else "\n", flush=True)


def _name(mutant: Mutant) -> str:
    return f"{'/'.join(map(str, mutant.key))}/{digest_of(mutant.path.read_text(encoding='utf-8'))}"


def _ordered(mutant: Mutant, tests: Sequence[Path]) -> list[list[Path]]:
    """The tests of the module's own name first: most mutants die there, and the others need not be collected."""
    files = [file for path in tests for file in (sorted(path.glob("test_*.py")) if path.is_dir() else [path])]
    own = [file for file in files if file.stem == f"test_{mutant.path.stem}"]
    return [some for some in (own, [file for file in files if file not in own]) if some]


def main() -> None:
    """Prints the survivors of a room, or of a sample, and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("room", choices=sorted(TESTS))
    parser.add_argument("--sample", type=int, help="So many mutants, drawn by chance.  (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", help="Mutants of this file of the room alone, such as words.")
    asked = parser.parse_args()
    tests = [ROOT / each for each in TESTS[asked.room]]
    every = [mutant for mutant in mutants(asked.room) if asked.file in (None, mutant.path.stem)]
    chosen = random.Random(asked.seed).sample(every, min(asked.sample or len(every), len(every)))
    digest = files_digest(*tests, ROOT / "tests" / "conftest.py", ROOT / "tests" / "golden")
    results = Results(KEPT / f"{asked.room}.jsonl", digest)
    started = time.monotonic()
    # What takes long to import is shared by all children; nothing of ours may be among it.
    import pytest
    import torch

    quick_hypothesis()
    assert all((pytest, torch)) and not any(name.startswith("lib_ebca") for name in sys.modules)
    missing = [mutant for mutant in chosen if results.of(mutant) is None]
    for mutant in missing:
        if mutant.unit is None:
            ordered = _ordered(mutant, tests)
            results.add(mutant, not all(loaded(mutant, some, patience(60)) for some in ordered))
    within = [mutant for mutant in missing if mutant.unit is not None]
    if within:
        cover = files_digest(ROOT / "lib_ebca" / asked.room)
        exchange = Exchange(within, results.add, KEPT / f"{asked.room}-reaches.json", digest + cover)
        if pytest.main([*OPTIONS, *map(str, tests)], plugins=[exchange]) != 0:
            raise SystemExit("the tests fail as they are: nothing can be said of mutants")
    survivors = [mutant for mutant in chosen if not results.of(mutant)]
    share = wilson(len(chosen) - len(survivors), len(chosen))
    print(f"\n{len(survivors)} survive:", *sorted(map(str, survivors)), sep="\n")
    print(
        f"{len(chosen)} of {len(every)} mutants of {asked.room} (seed {asked.seed}), {share.value:.1%} killed "
        f"(95 % interval {share.low:.1%} to {share.high:.1%}), {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
