"""Runs tests under a mutant, each in a forked child of a process that has loaded and collected everything once."""

from __future__ import annotations

import functools
import gc
import importlib.abc
import importlib.util
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from .changes import ROOT, Mutant, Unit, mutated

OPTIONS = [
    *("-x", "-q", "-s", "-p", "no:cacheprovider", "-W", "ignore", "--no-header", "--no-summary"),
    *("--hypothesis-seed=0", "--hypothesis-profile=mutation"),
]
_PATIENCE = 10  # times as long as a test takes without a change, in seconds of the processor
_GRACE = 10  # seconds of the processor besides
_ROOM = 4 << 30  # bytes that a mutant may ask for beyond what is there


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module as its mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self._mutant.module else None

    def exec_module(self, module: Any) -> None:
        exec(mutated(self._mutant), module.__dict__)


def quick_hypothesis() -> None:
    """Registers the profile of the options: a failing example is neither made smaller nor kept."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )


def in_child(work: Callable[[], bool], seconds: float | None = None) -> bool:
    """Whether work in a forked child, without a terminal, comes to its end and says True."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_AS, (_size() + _ROOM, _size() + _ROOM))
            bounded(seconds)
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


def bounded(seconds: float) -> None:
    """Ends this process after so many seconds of the processor, or ten times as many of the clock."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(int(10 * seconds) + 1)


def _size() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()


def loaded(mutant: Mutant | None, tests: Sequence[Path], seconds: float | None = None) -> bool:
    """Whether tests pass where a module is loaded as its mutant (None: as it is); nothing of ours may be loaded yet."""

    def work() -> bool:
        import pytest

        if mutant is not None:
            sys.meta_path.insert(0, Finder(mutant))
        return pytest.main([*OPTIONS, *map(str, tests)]) == 0

    return in_child(work, seconds)


def patience(seconds: float) -> float:
    """The seconds of the processor after which a mutant is taken to hang."""
    return _PATIENCE * seconds + _GRACE


class Exchange:
    """A pytest plugin: instead of running the tests it runs those that reach a mutant, for each of the mutants.

    `report(mutant, killed)` is called for each; `cover` is a file that keeps which test reaches which function, under
    a digest of all that the tests depend on.
    """

    def __init__(
        self, mutants: Sequence[Mutant], report: Callable[[Mutant, bool], None], cover: Path, digest: str
    ) -> None:
        self._mutants, self._report, self._cover, self._digest = mutants, report, cover, digest
        self._folders = tuple({str(mutant.path.parent) for mutant in mutants})

    def pytest_runtestloop(self, session: Any) -> bool:
        gc.collect()
        self._items = {item.nodeid: item for item in session.items}
        self._functions = defaultdict[tuple[str, str, int], list[FunctionType]](list)
        self._caches: list[Any] = []
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(self._folders):
                self._functions[_place(thing.__code__)].append(thing)
            elif isinstance(thing, functools._lru_cache_wrapper) and thing.__module__.startswith("lib_ebca"):
                self._caches.append(thing)
        gc.freeze()  # pages that no child writes to stay shared
        reaches = self._reaches(session)
        for mutant in self._mutants:
            self._report(mutant, not in_child(lambda mutant=mutant: self._passes(session, mutant, reaches), 60))  # type: ignore[misc]  # a lambda that holds its mutant
        return True

    def _passes(self, session: Any, mutant: Mutant, reaches: Mapping[str, Any]) -> bool:
        unit = mutant.unit
        assert unit is not None
        code, place = _found(mutated(mutant), unit), (str(mutant.path), unit.name, unit.first)
        for function in self._functions[place]:
            function.__code__ = code
        self._forget()
        file = str(mutant.path)
        reaching = [
            (entry["seconds"], name)
            for name, entry in reaches.items()
            if any(unit.first <= line <= unit.last for line in entry["lines"].get(file, ()))
        ]
        for seconds, name in sorted(reaching):
            bounded(patience(seconds))
            _ran(session, self._items[name])
            if session.testsfailed:
                return False
        return True

    def _reaches(self, session: Any) -> Mapping[str, Any]:
        """For each test its seconds of the processor, and the first lines of the functions that it calls."""
        if self._cover.is_file():
            kept = json.loads(self._cover.read_text(encoding="utf-8"))
            if kept["digest"] == self._digest:
                found: Mapping[str, Any] = kept["reaches"]
                return found
        if not in_child(lambda: self._watched(session)):
            raise SystemExit("a test fails as it is: nothing can be said")
        return self._reaches(session)

    def _watched(self, session: Any) -> bool:
        reaches = {}
        for name, item in self._items.items():
            self._forget()
            codes = set[CodeType]()
            # With fixtures of its own: else what a shared one calls would count for the first test alone.
            started = time.process_time()
            sys.setprofile(lambda frame, event, _, codes=codes: _noted(codes, frame, event, self._folders))  # type: ignore[misc]  # a lambda that holds its set
            try:
                _ran(session, item)
            finally:
                sys.setprofile(None)
            lines = defaultdict(list)
            for code in codes:
                lines[code.co_filename].append(code.co_firstlineno)
            reaches[name] = {"seconds": time.process_time() - started, "lines": lines}
            if session.testsfailed:
                return False
        self._cover.write_text(json.dumps({"digest": self._digest, "reaches": reaches}), encoding="utf-8")
        return True

    def _forget(self) -> None:
        for kept in self._caches:
            kept.cache_clear()


def _ran(session: Any, item: Any) -> None:
    session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


def _noted(codes: set[CodeType], frame: FrameType, event: str, folders: tuple[str, ...]) -> None:
    if event == "call" and frame.f_code.co_filename.startswith(folders):
        codes.add(frame.f_code)


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_name, code.co_firstlineno


def _found(code: CodeType, unit: Unit) -> CodeType:
    """The code of a function within that of its module."""
    waiting = [code]
    while waiting:
        one = waiting.pop()
        if (one.co_name, one.co_firstlineno) == (unit.name, unit.first):
            return one
        waiting += [const for const in one.co_consts if isinstance(const, CodeType)]
    raise LookupError(f"no code of {unit}")


def digest_of(text: str) -> str:
    """A short digest."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def files_digest(*folders: Path) -> str:
    """A digest of all the Python files below some folders, or of files."""
    paths = [path for folder in folders for path in (sorted(folder.rglob("*.py")) if folder.is_dir() else [folder])]
    return digest_of("".join(f"{path.relative_to(ROOT)}\0{path.read_text(encoding='utf-8')}\0" for path in paths))
