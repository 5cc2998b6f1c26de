"""What the user sees of a run: one bar, the rate of every worker, and sentences."""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from ..terminal import say, say_json
from ..terminal import shown as shown_text
from .outcome import Failed, Made, Note, Outcome

_WINDOW = 32  # pictures that a worker's rate is taken over
_SHOWN = 8  # workers that have a rate of their own on the bar


class Show(Protocol):
    """Is told every outcome."""

    def tell(self, outcome: Outcome) -> None:
        """One more."""


class Rates:
    """Pictures per second of each worker, over its last ones."""

    def __init__(self) -> None:
        self._times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._started = time.perf_counter()

    def count(self, worker: str) -> None:
        """The worker made a picture."""
        times = self._times[worker]
        if not times:
            times.append(self._started)
        times.append(time.perf_counter())

    def of_each(self) -> dict[str, float]:
        """By worker."""
        return {
            worker: (len(times) - 1) / max(times[-1] - times[0], 1e-9) for worker, times in sorted(self._times.items())
        }

    def __str__(self) -> str:
        rates = self.of_each()
        if len(rates) <= _SHOWN:
            return " + ".join(f"{rate:.2f}" for rate in rates.values()) + "/s"
        slowest, fastest = min(rates.values()), max(rates.values())
        return f"{sum(rates.values()):.2f}/s of {len(rates)} workers, {slowest:.2f} to {fastest:.2f} each"


class Teller:
    """Sentences on stderr, each once, and with `as_json` a line on stdout for every picture."""

    def __init__(self, as_json: bool, echo: Any = say) -> None:
        self._as_json, self._echo = as_json, echo
        # An engine may turn stdout elsewhere for what it runs.
        self._stdout = sys.stdout
        self._said: set[str] = set()

    def tell(self, outcome: Outcome) -> None:
        """One more."""
        if isinstance(outcome, Note):
            self._say(outcome.text)
        elif isinstance(outcome, Failed):
            self._say(f"{outcome.label} failed: {outcome.error}", outcome.error)
        else:
            for comment in outcome.comments:
                self._say(f"Note: {comment}")
        if self._as_json and not isinstance(outcome, Note):
            say_json(outcome.to_line(), self._stdout)

    def _say(self, sentence: str, what: str | None = None) -> None:
        if (what or sentence) not in self._said:
            self._said.add(what or sentence)
            self._echo(sentence, err=True)


@contextmanager
def shown(total: int, as_json: bool, quiet: bool) -> Iterator[Show]:
    """One bar over all pictures of the run, where somebody watches."""
    if quiet or as_json or not sys.stderr.isatty():
        yield Teller(as_json)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, progress.add_task("", total=total), Teller(False, partial(print_plain, console)))


def print_plain(console: Any, text: str, err: bool) -> None:
    """A line above the bar. Square brackets in it are no markup, and colons no emoji."""
    console.print(shown_text(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


class _Bar:
    def __init__(self, progress: Any, task: Any, teller: Teller) -> None:
        self._progress, self._task, self._teller, self._rates = progress, task, teller, Rates()

    def tell(self, outcome: Outcome) -> None:
        self._teller.tell(outcome)
        if isinstance(outcome, Made):
            self._rates.count(outcome.worker)
        if not isinstance(outcome, Note):
            self._progress.update(self._task, advance=1, description=str(self._rates))
