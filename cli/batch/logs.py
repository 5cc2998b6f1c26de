"""How a run goes, as curves in TensorBoard or Weights & Biases. Off unless asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import output_folder

from .outcome import Failed, Made, Note, Outcome
from .store import Store

KINDS = ("tensorboard", "wandb")
Log = Callable[[Outcome], None]


@contextmanager
def logging_to(kind: str | None, store: Store, facts: dict[str, Any]) -> Iterator[Log]:
    """Takes every outcome; `facts` describe the run. Raises UserError where the extra is not installed."""
    if kind is None:
        yield lambda outcome: None
    elif kind == "tensorboard":
        with _tensorboard(store, facts) as write:
            yield _Curves(write).add
    elif kind == "wandb":
        with _wandb(facts) as write:
            yield _Curves(write).add
    else:
        raise UserError(f"--log is {kind!r}: it should be one of {', '.join(KINDS)}")


class _Curves:
    """Pictures made, pictures failed, and seconds for a picture, over the number of pictures seen to."""

    def __init__(self, write: Callable[[dict[str, float], int], None]) -> None:
        self._write = write
        self._made = self._failed = 0
        self._started = time.perf_counter()

    def add(self, outcome: Outcome) -> None:
        if isinstance(outcome, Note):
            return
        self._made += isinstance(outcome, Made)
        self._failed += isinstance(outcome, Failed)
        seconds = time.perf_counter() - self._started
        values = {"made": float(self._made), "failed": float(self._failed), "pictures per second": self._made / seconds}
        if isinstance(outcome, Made):
            values |= {"seconds per picture": outcome.seconds, "pictures drawn together": float(outcome.batch)}
        self._write(values, self._made + self._failed)


@contextmanager
def _tensorboard(store: Store, facts: dict[str, Any]) -> Iterator[Callable[[dict[str, float], int], None]]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--log tensorboard needs TensorBoard: pip install 'ebca[tensorboard]'") from None
    store.refuse_links("tensorboard")
    local = store.local and output_folder(store.local / "tensorboard")
    folder = store.url.rstrip("/") + "/tensorboard" if local is None else str(local)
    writer = SummaryWriter(folder)
    writer.add_text("run", "  \n".join(f"{name}: {value}" for name, value in facts.items()))

    def write(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        writer.close()


@contextmanager
def _wandb(facts: dict[str, Any]) -> Iterator[Callable[[dict[str, float], int], None]]:
    try:
        import wandb
    except ImportError:
        raise UserError("--log wandb needs Weights & Biases: pip install 'ebca[wandb]'") from None
    run = wandb.init(project="ebca", config=facts)
    try:
        yield lambda values, step: run.log(values, step=step)
    finally:
        run.finish()
