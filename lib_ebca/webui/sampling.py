"""One sampling pass of the host: everything of ours goes in right before it and comes out right after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from modules import shared
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Rows
from lib_ebca.attention.record import Recorder
from lib_ebca.hosts.ldm import cross_attention_layers
from lib_ebca.hosts.patch import replaced
from lib_ebca.webui.account import Account, fault
from lib_ebca.webui.encode import Part
from lib_ebca.webui.excite import Exciter, asked
from lib_ebca.webui.hosting import Hosting, Ledger, hosting
from lib_ebca.webui.photo import Photo
from lib_ebca.webui.score import Score

_MARK = "ebca_pass"


@dataclass
class Pass:
    """What is to be done in one pass.

    Attributes:
        parts: the conditional rows of the batch.
        tell: takes a sentence for the user.
        mask: (H, W), where the picture pulls at its words, or None for everywhere.
        recorder: keeps energies and maps, or None.
        finished: called after the pass, also after one that was interrupted, but not after an error.
        photo: how the pictures are inverted that the pass begins with, or None if it begins with the host's noise.
        name: what a sentence on the pass begins with.
    """

    parts: Sequence[Part]
    tell: Callable[[str], None]
    mask: Tensor | None = None
    recorder: Recorder | None = None
    finished: Callable[[], None] = field(default=lambda: None)
    photo: Photo | None = None
    name: str = ""

    @contextmanager
    def conducted(self, sampler: Any) -> Iterator[None]:
        """Install the pass into the sampler and the model, for the length of the block."""
        denoiser = sampler.model_wrap_cfg
        model = shared.sd_model
        host = hosting(model)
        conductor = _Conductor(self, denoiser, model.sd_checkpoint_info, host)
        config = getattr(sampler, "config", None)
        conductor.looks_twice = bool(getattr(config, "options", {}).get("second_order", False))
        with ExitStack() as stack:
            if asked(self.parts):
                stack.enter_context(host.differentiable())
            stack.enter_context(replaced(denoiser, "forward", conductor.denoise(denoiser.forward)))
            stack.callback(host.unet.register_forward_pre_hook(conductor.evaluate, with_kwargs=True).remove)
            stack.enter_context(host.installed(lambda: conductor.cascade, self.tell, conductor.swapped))
            if self.photo is not None:
                stack.enter_context(self.photo.starts(sampler))
            yield
        if conductor.calls and not (conductor.cascades or conductor.lost):
            self.tell("EBCA was not applied: none of the network's calls could be told apart.")
        for sentence in conductor.account.told():
            self.tell(self.name + sentence)
        if conductor.exciter is not None:
            conductor.exciter.told()
        self.finished()


def prepare(sampler: Any, planned: Pass | Exception | None) -> None:
    """Let the sampler's next pass be conducted, or fail with an error; None takes an earlier preparation back.

    The preparation removes itself when the pass begins. A second one before the pass replaces the first.
    """
    attributes = vars(sampler)
    if planned is None:
        attributes.pop(_MARK, None)
        return
    waiting = _MARK in attributes
    attributes[_MARK] = planned
    if waiting:
        return
    before, found = attributes.get("launch_sampling"), sampler.launch_sampling

    def launch_sampling(*args: Any, **keywords: Any) -> Any:
        planned = attributes.pop(_MARK, None)
        if attributes.get("launch_sampling") is launch_sampling:
            if before is None:
                del attributes["launch_sampling"]
            else:
                attributes["launch_sampling"] = before
        if isinstance(planned, Exception):
            raise planned
        if planned is None:
            return found(*args, **keywords)
        with planned.conducted(sampler):
            samples = found(*args, **keywords)
        lost = fault(planned.parts, samples)
        if lost is not None:
            planned.tell(lost)
        return samples

    attributes["launch_sampling"] = launch_sampling


class _Conductor:
    """Turns the calls of the host's denoiser and of its UNet into evaluations of cascades."""

    def __init__(self, planned: Pass, denoiser: Any, checkpoint: Any, host: Hosting) -> None:
        self.cascade: Cascade | None = None
        self.calls = 0
        self.cascades = 0
        self.looks_twice = False
        self.exciter: Exciter | None = None
        self.account = Account(planned.parts)
        self._host = host
        self._gradient: Cascade | None = None
        self._pass, self._denoiser, self._checkpoint = planned, denoiser, checkpoint
        self._layers = len(cross_attention_layers(host.unet))
        self._score: Score | None = None
        self._rows, self._size = Rows((), ()), (0, 0)
        self._whole: tuple[int, int] | None = None
        self._ledger: Ledger | None = None
        self.lost = False

    def denoise(self, found: Callable[..., Any]) -> Callable[..., Any]:
        """The denoiser's forward that announces the rows of one step."""

        def forward(*args: Any, **keywords: Any) -> Any:
            self._another_model()
            condition: Any = keywords.get("cond", args[3] if len(args) > 3 else None)
            repeats = [len(each) for each in condition.batch]
            latents: Any = keywords.get("x", args[0] if args else None)
            self._whole = (latents.shape[-2], latents.shape[-1])
            unconditional: Any = keywords.get("uncond", args[2] if len(args) > 2 else None)
            self._ledger = self._host.ledger(self._denoiser, unconditional, condition)
            if self._score is None:
                steps = max(1, int(self._denoiser.total_steps))
                self._score = Score(
                    self._pass.parts, steps, self._layers, self._pass.mask, self._pass.recorder, self._pass.tell
                )
            if sum(repeats) != len(self._pass.parts):
                self._lose(f"the step has {sum(repeats)} conditional rows where {len(self._pass.parts)} were expected")
            if asked(self._pass.parts) and not self.lost:
                self._excite(args, keywords, condition)
            step = int(self._denoiser.step)
            try:
                return found(*args, **keywords)
            finally:
                if self.cascade is not None:
                    self.account.evaluated(self.cascade, step)
                self.cascade = self._ledger = None

        return forward

    def evaluate(self, unet: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """The UNet is about to run (its forward pre-hook)."""
        if self._gradient is not None:
            self.cascade = self._gradient
            return
        # Outside a step the network is asked for something else: an inversion.
        self.calls += self._ledger is not None
        self.cascade = None
        sample, context = args[0], keywords.get("context", args[2] if len(args) > 2 else None)
        if self.lost or self._score is None or self._ledger is None or not isinstance(context, Tensor):
            return
        if self._another_model():
            return
        rows = self._ledger(context, keywords)
        if rows is None:
            self._lose("another extension calls the network with rows of its own")
            return
        size = (sample.shape[-2], sample.shape[-1])
        if self._pass.mask is not None and self._whole not in (None, size):
            self._lose("the picture is made in tiles, and its mask does not fit them")
            return
        self._rows, self._size = rows, size
        self.cascades += 1
        self._begin(self._score)

    def swapped(self) -> None:
        """Other weights were found in the network's modules when it was called: the evaluation begins anew."""
        if self._score is not None and self._gradient is None:
            self._score.forget()
            self._begin(self._score)

    def _begin(self, score: Score) -> None:
        rows, step = self._rows, int(self._denoiser.step)
        cascade = score.at(step)
        # A call with some of the pictures alone cannot be averaged with the others.
        complete = len({p for p, c in zip(rows.picture, rows.conditional, strict=True) if c}) in (
            0,
            len(self._pass.parts),
        )
        cascade.recorder = self._pass.recorder if complete and not rows.beside else None
        cascade.begin(rows, self._size, step)
        self.cascade = cascade

    def _excite(self, args: tuple[Any, ...], keywords: dict[str, Any], condition: Any) -> None:
        def follow(cascade: Cascade | None) -> None:
            self._gradient = self.cascade = cascade

        if self.exciter is None:
            steps = max(1, int(self._denoiser.total_steps))
            self.exciter = Exciter(
                self._pass.parts, self._host, steps, self.looks_twice, self._pass.mask, self._pass.tell, follow
            )
        given = dict(
            zip(("x", "sigma", "uncond", "cond", "cond_scale", "s_min_uncond", "image_cond"), args, strict=False)
        )
        given |= keywords
        self.exciter.move(self._denoiser, given["x"], given["sigma"], condition, given["image_cond"])

    def _another_model(self) -> bool:
        swapped = shared.sd_model.sd_checkpoint_info is not self._checkpoint
        if swapped and not self.lost:
            self._lose("the refiner took over, and the contexts belong to the first model")
        return swapped

    def _lose(self, reason: str) -> None:
        self.lost = True
        self._pass.tell(f"EBCA stopped: {reason}.")
