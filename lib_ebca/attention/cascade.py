"""One pass of sampling seen from the context: who reads what, how strongly, and how it travels from layer to layer.

A :class:`Cascade` lives for one sampling pass. At each evaluation of the UNet it starts afresh from the prompt
embedding; the layers, in the order in which the UNet runs them, read the contexts it holds and leave them changed for
the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib_ebca.attention.adjoint import Adjoint
from lib_ebca.attention.following import FollowedRows, follower
from lib_ebca.attention.kept import Stamp, made_of, stamp
from lib_ebca.attention.layer_size import layer_size
from lib_ebca.attention.moment import Group, Member, Moment, moment
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.record import Recorder
from lib_ebca.attention.watcher import Watcher


class UnknownRowsError(ValueError):
    """The batch that arrived does not fit the pictures that were announced."""


KeysValues = dict[int, tuple[Tensor, Tensor]]
"""By layer: the keys of contexts that are the same at every evaluation, and their values times shares and factors."""


@dataclass
class Stream:
    """Editorial contexts on their way through the layers of one evaluation.

    Attributes:
        context: (R, T, D), in float32 at least.
        group: whose they are.
        kept: what earlier evaluations made of them; None if they move.
    """

    context: Tensor
    group: Group
    kept: KeysValues | None


@dataclass
class Evaluation:
    """One run through the UNet: the contexts as the next layer will find them.

    Attributes:
        moment: the numbers of now.
        main: (B, T, D), in float32 at least.
        streams: the editorial contexts that act now.
        size: height and width of the latent.
        kept: what earlier evaluations made of the main context; None if it moves.
        following: which rows read the maps of others now; None if none does.
        layer: number of the layer entered last.
        entered: by layer the contexts that it found, main and editorial, where gradients may be taken.
        served: the layers that gave an output of ours; not counted inside a compiled graph.
    """

    moment: Moment
    main: Tensor
    streams: list[Stream]
    size: tuple[int, int]
    kept: KeysValues | None
    following: FollowedRows | None = None
    layer: int = -1
    entered: dict[int, tuple[Tensor, list[Tensor]]] = field(default_factory=dict)
    served: set[int] = field(default_factory=set)

    @property
    def acts(self) -> bool:
        """Whether any layer's output can differ from the stock model's."""
        moment = self.moment
        return moment.update is not None or bool(self.streams) or moment.factors is not None or self._follows

    @property
    def _follows(self) -> bool:
        return self.following is not None and self.following.acts


class Cascade:
    """The contexts of one sampling pass.

    Args:
        pictures: one for each picture of the batch, in the batch's order.
        timetables: the numbers of each picture over the pass.
        layers: how many cross-attention layers the UNet runs; the last one's update is left out, since no layer reads
            it. None takes every update.
        drift: keep what the editorial contexts gained in one evaluation for the next, as the published code does.
        recorder: keeps energies and attention maps, or watches them with gradients.
        tell: takes a sentence for the user where something asked for is left out.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        timetables: Sequence[Timetable],
        *,
        layers: int | None = None,
        drift: bool = False,
        recorder: Recorder | Watcher | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        if len(pictures) != len(timetables):
            raise ValueError(f"{len(pictures)} pictures have {len(timetables)} timetables; give each its own")
        self.pictures = tuple(pictures)
        self.timetables = tuple(timetables)
        self.layers = layers
        self.drift = drift
        self.recorder = recorder
        self.tell = tell
        self.follower = follower(self.pictures, min((len(each.values) - 1 for each in timetables), default=0))
        self.evaluation: Evaluation | None = None
        self.number = -1
        self.adjoints: dict[int, Adjoint] = {}
        self.prepared = False
        self._rows = Rows((), ())
        self._made_of: dict[int, Stamp] = {}
        self._given_stamp: Stamp | None = None
        self._size = (0, 0)
        self._given: Tensor | None = None
        self._shares: tuple[tuple[object, ...], ...] = ()
        self._kept: dict[tuple[Member, ...], KeysValues] = {}
        self._kept_main: KeysValues = {}
        self._moments: dict[tuple[tuple[Values, ...], Rows, int], Moment] = {}
        self._masks: dict[tuple[object, ...], Tensor] = {}
        self._drifted: dict[Member, Tensor] = {}

    def begin(self, rows: Rows, size: tuple[int, int], number: int | None = None, given: Tensor | None = None) -> None:
        """Announce an evaluation of the UNet; the contexts start afresh when its first layer is reached.

        Args:
            rows: which picture and which side of guidance each row of the batch is.
            size: height and width of the latent.
            number: number of the evaluation within the pass, from 0; counted on if not given.
            given: (B, T, D), the context that the layers will be handed, where the UNet is compiled: everything is laid
                out at once, so that nothing is left to be decided inside the graph.

        Raises:
            UnknownRowsError: ``given`` has another number of rows.
        """
        self.number = self.number + 1 if number is None else number
        self._rows, self._size = rows, size
        self._finish()
        self.prepared = given is not None
        if given is not None:
            self.evaluation = self._start(given, again=True)

    def enter(self, layer: int, given: Tensor) -> Evaluation:
        """The contexts as layer number ``layer`` finds them.

        A layer that comes round again without a new :meth:`begin` is the sign of a host that runs the UNet twice.

        Args:
            layer: place of the layer in the order of execution, from 0.
            given: (B, T, D), the context that the host hands to the layer; read at the first layer only.

        Raises:
            UnknownRowsError: ``given`` has another number of rows than was announced.
        """
        if not self.prepared and self.evaluation is not None and _in_backward() and layer in self.evaluation.entered:
            # Gradient checkpointing runs a layer again, and has to find what the layer found.
            self.evaluation.main, contexts = self.evaluation.entered[layer]
            for stream, context in zip(self.evaluation.streams, contexts, strict=True):
                stream.context = context
            return self.evaluation
        if self.evaluation is None or layer <= self.evaluation.layer:
            self._finish()
            self.evaluation = self._start(given)
        self.evaluation.layer = layer
        if not self.prepared and torch.is_grad_enabled():
            contexts = [stream.context for stream in self.evaluation.streams]
            self.evaluation.entered[layer] = self.evaluation.main, contexts
        return self.evaluation

    def renew(self, layer: int, sources: Sequence[nn.Module]) -> None:
        """Forget what is kept of a layer if what it was made of has changed: weights, LoRA, their scales."""
        now = made_of(sources)
        if self._made_of.get(layer) == now:
            return
        by_layer: tuple[dict[int, Any], ...] = (self.adjoints, self._kept_main, *self._kept.values())
        for kept in by_layer:
            kept.pop(layer, None)
        self._made_of[layer] = now

    @property
    def rows_count(self) -> int:
        """How many rows were announced."""
        return len(self._rows.picture)

    def following(self, like: Tensor) -> FollowedRows | None:
        """Which rows read the maps of others in this evaluation, also before its first layer was entered.

        Args:
            like: a tensor of the layers' type and device.
        """
        return None if self.follower is None else self.follower.at(self.number, self._rows, self._size, like)

    def is_last(self, layer: int) -> bool:
        """Whether no layer of this evaluation comes after this one."""
        return layer + 1 == self.layers

    def pixel_weight(self, pixels: int) -> Tensor | None:
        """The masks of the rows' pictures at a layer of that many pixels: (B, N), or None if no picture has one.

        Bilinear with corners aligned, as published; a picture without a mask pulls everywhere.

        Raises:
            UnknownSizeError: the layer does not come from halving the latent.
        """
        assert self.evaluation is not None
        if all(picture.mask is None for picture in self.pictures):
            return None
        main, rows = self.evaluation.main, self.evaluation.moment.rows
        stamps = tuple(None if picture.mask is None else stamp(picture.mask) for picture in self.pictures)
        key = (pixels, self.evaluation.size, rows, stamps)
        if key not in self._masks:
            size = layer_size(pixels, *self.evaluation.size)
            resized = []
            for picture in self.pictures:
                mask = torch.ones(1, 1) if picture.mask is None else picture.mask
                mask = mask.to(main.device, main.dtype)[None, None]
                resized.append(F.interpolate(mask, size, mode="bilinear", align_corners=True).reshape(-1))
            self._masks[key] = torch.stack([resized[picture] for picture in rows.picture])
        return self._masks[key]

    def _start(self, given: Tensor, again: bool = False) -> Evaluation:
        if given.shape[0] != len(self._rows.picture):
            raise UnknownRowsError(f"{given.shape[0]} rows arrived where {len(self._rows.picture)} were announced")
        values = tuple(timetable.at(self.number) for timetable in self.timetables)
        key = (values, self._rows, given.shape[1])
        if key not in self._moments:
            self._moments[key] = moment(self.pictures, values, self._rows, given, self.drift)
        now = self._moments[key]
        kept_main = self._keep(given, tuple((each.strengths, each.factors) for each in values), again)
        main = given if given.dtype == torch.float64 else given.float()
        streams = [Stream(self._contexts(group, main), group, self._kept_of(group)) for group in now.groups]
        kept = None if now.update is not None else kept_main
        return Evaluation(now, main, streams, self._size, kept, self.following(main))

    def _keep(self, given: Tensor, shares: tuple[tuple[object, ...], ...], again: bool) -> KeysValues | None:
        """Forget what is outdated, and say where the main context's keys and values are kept.

        A host that hands over another tensor each time would never read them again: they are kept from the second
        evaluation with the same one on, unless ``again`` says that it will be.
        """
        if shares != self._shares:
            # The values hold the shares and the factors.
            self._kept, self._kept_main, self._shares = {}, {}, shares
        now = stamp(given)
        if given is self._given and now is not None and now == self._given_stamp:
            return self._kept_main
        self._given_stamp = now
        # The edits are the cascade's own; the unconditional embedding and the prompt are the host's.
        self._kept = {
            members: kept for members, kept in self._kept.items() if all(member.edit is not None for member in members)
        }
        self._kept_main, self._given = {}, given
        return self._kept_main if again else None

    def _kept_of(self, group: Group) -> KeysValues | None:
        return None if group.update is not None or self.drift else self._kept.setdefault(group.members, {})

    def _contexts(self, group: Group, main: Tensor) -> Tensor:
        return torch.stack([self._context(member, main) for member in group.members])

    def _context(self, member: Member, main: Tensor) -> Tensor:
        if member in self._drifted:
            return self._drifted[member]
        if member.edit is None:
            return main[member.row]
        return self.pictures[member.picture].edits[member.edit].to(main.device, main.dtype)

    def _finish(self) -> None:
        """Close the evaluation; under drift the editorial contexts are kept as the last layer left them."""
        if self.evaluation is not None and self.drift:
            for stream in self.evaluation.streams:
                self._drifted.update(zip(stream.group.members, stream.context, strict=True))
        self.evaluation = None


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1
