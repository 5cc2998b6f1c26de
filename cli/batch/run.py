"""A run over a file of jobs: what is there already is left alone, and every line of the manifest stands for a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from lib_ebca.studio import infotext, pictures
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import OURS

from .items import Asked, Item
from .manifest import NAME, History, Line, Manifest
from .outcome import Failed, Made, Note, Outcome
from .store import Store

_TOLD = 10  # lines that a sentence names

Engine = Callable[[Sequence[Item], dict[str, str]], AbstractContextManager[Iterator[Sequence[Outcome]]]]
"""Makes items; takes the hashes of the models used before. Gives outcomes in the groups in which they come in."""


@dataclass(frozen=True)
class Work:
    """What is left to do, and what is not: items by what became of them before.

    `changed` counts those whose job made another picture in an earlier run, `stale` pictures nobody asks for any more.
    """

    todo: tuple[Item, ...]
    done: dict[str, Line]
    failed: dict[str, Line]
    torn: int
    changed: int
    stale: int
    unread: tuple[int, ...] = ()

    def sentences(self) -> list[str]:
        """What the user should know before the run."""
        told = []
        if self.unread:
            lines = ", ".join(map(str, self.unread[:_TOLD])) + (", ..." if len(self.unread) > _TOLD else "")
            told.append(f"{NAME} cannot be read in {len(self.unread)} of its lines ({lines}): passed over.")
        if self.done:
            told.append(f"{_pictures(len(self.done))} made before, {len(self.todo)} to make.")
        if self.torn:
            told.append(f"{_pictures(self.torn)} missing or spoilt since: made again.")
        if self.changed:
            told.append(f"{_pictures(self.changed)} of jobs that were changed: made anew.")
        if self.stale:
            told.append(f"{_pictures(self.stale)} in the folder that no job asks for any more: left there.")
        if self.failed:
            told.append(f"{_pictures(len(self.failed))} that failed before: left out; --retry-failed tries them again.")
        return told


@dataclass
class Summary:
    """How a run ended."""

    made: int = 0
    before: int = 0
    failed: int = 0
    left: int = 0
    errors: list[str] = field(default_factory=list)


def work(asked: Asked, store: Store, history: History, *, resume: bool, retry_failed: bool) -> Work:
    """What there is to do. Raises UserError where the folder is that of other jobs and `resume` does not say so."""
    keys = {item.key for item in asked.items}
    if history.digest not in (None, asked.digest) and not resume:
        same = len(keys & history.made.keys())
        raise UserError(
            f"{store.url} holds the pictures of other jobs ({same} of these {len(keys)} are among them): "
            "add --resume to make what is missing there, or give another --out"
        )
    recorded = {key: line for key, line in history.made.items() if key in keys}
    sizes = store.sizes()
    done = History(None, recorded, {}).intact(store, sizes)
    failed = {key: line for key, line in history.failed.items() if key in keys and not retry_failed}
    todo = tuple(item for item in asked.items if item.key not in done and item.key not in failed)
    _refuse_others(store, sizes, (item.name for item in todo), history)
    before = {line["label"]: key for key, line in history.made.items()}
    changed = sum(item.label in before and before[item.label] not in keys for item in todo)
    return Work(todo, done, failed, len(recorded) - len(done), changed, len(history.made.keys() - keys), history.unread)


def _refuse_others(store: Store, sizes: Mapping[str, int], names: Iterable[str], history: History) -> None:
    """Raises UserError where a picture would take the place of a file that no run wrote.

    A run that was killed between a picture and its line has left a picture of ours without one.
    """
    ours = {line["path"] for line in history.made.values()}
    for name in names:
        store.refuse_links(name)
        if name in sizes and name not in ours and not _is_ours(name, store.read(name) or b""):
            raise UserError(f"{store.url} holds a file {name} that no run made: move it away, or give another --name")


def _is_ours(name: str, data: bytes) -> bool:
    try:
        text = infotext.from_picture(pictures.open_picture(Path(name), data))
    except UserError:
        return False
    return text is not None and infotext.read(text).fields.get("Version", "").startswith(OURS)


def run(
    asked: Asked,
    plan: Work,
    manifest: Manifest,
    hashes: dict[str, str],
    engine: Engine,
    tell: Callable[[Outcome], None],
    fail_fast: bool = False,
) -> Summary:
    """Makes what is left to do. The store is locked by the caller."""
    summary = Summary(before=len(plan.done), failed=len(plan.failed), left=len(plan.todo))
    if not plan.todo:
        return summary
    manifest.begin(asked.digest, len(asked.items))
    try:
        with engine(plan.todo, hashes) as groups:
            _follow(groups, manifest, summary, tell, fail_fast)
    finally:
        manifest.close()
    return summary


def _follow(
    groups: Iterator[Sequence[Outcome]],
    manifest: Manifest,
    summary: Summary,
    tell: Callable[[Outcome], None],
    fail_fast: bool,
) -> None:
    for outcomes in groups:
        manifest.add([outcome for outcome in outcomes if not isinstance(outcome, Note)])
        for outcome in outcomes:
            tell(outcome)
            _count(summary, outcome)
        if fail_fast and summary.errors:
            return


def hashes_in(history: History) -> dict[str, str]:
    """The hash of every model that the pictures were made with."""
    return {line["model"]: line["model_hash"] for line in history.made.values()}


def _count(summary: Summary, outcome: Outcome) -> None:
    if isinstance(outcome, Made):
        summary.made += 1
        summary.left -= 1
    elif isinstance(outcome, Failed):
        summary.failed += 1
        summary.left -= 1
        summary.errors.append(outcome.error)


def _pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"
