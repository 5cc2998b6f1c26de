"""UNet level: two evaluations of a small UNet, their output and the contexts after the last layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Rows, Timetable
from lib_ebca.hosts.unet import installed
from tests.golden.case import Case
from tests.golden.layer_level import pictures_of, rows_of, values_of


def run(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``noise_pred_k``, ``context_k`` and ``edit_embeds_after_k`` of a UNet case."""
    unet = unet_of(case, dtype)
    context = case.given("in.context", dtype)
    edits = tuple(range(case.meta.get("n_edits", 0)))
    pictures = pictures_of(case, dtype, edits)
    timetable = Timetable((values_of(case.meta, edits),))
    cascade = Cascade(pictures, [timetable] * len(pictures), drift=True)
    editorial = torch.cat([context[:1], *(edit[None] for edit in pictures[0].edits)])
    found = {}
    with conducted(unet, cascade, rows_of(context.shape[0])):
        for number in (1, 2):
            timestep = torch.tensor(case.meta[f"timestep_{number}"])
            with torch.no_grad():
                prediction = unet(case.given(f"in.sample_{number}", dtype), timestep, context).sample
            found[f"noise_pred_{number}"] = prediction
            found[f"context_{number}"] = main_context(cascade)
            editorial = editorial_contexts(cascade, editorial)
            if edits:
                found[f"edit_embeds_after_{number}"] = editorial
    return found


def unet_of(case: Case, dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet that a case names, in its four- or nine-channel form."""
    return _unet(case.folder, case.meta["unet"], case.meta["inpaint"], dtype)


def unet_named(folder: Path, name: str, dtype: torch.dtype) -> UNet2DConditionModel:
    """The four-channel UNet in the files of that name."""
    return _unet(folder, name.removeprefix("unet_"), False, dtype)


@cache
def _unet(folder: Path, name: str, inpaint: bool, dtype: torch.dtype) -> UNet2DConditionModel:
    config = Case(f"unet_{name}", "weights", folder).meta["config"]
    weights = load_file(folder / f"unet_{name}.safetensors")
    if inpaint:
        config = config | {"in_channels": 9}
        weights |= load_file(folder / f"unet_{name}_inpaint_conv_in.safetensors")
    unet = UNet2DConditionModel(**config)
    unet.load_state_dict(weights)
    return unet.to(dtype).eval()


@contextmanager
def conducted(unet: UNet2DConditionModel, cascade: Cascade, rows: Rows) -> Iterator[None]:
    """Run a UNet under a cascade; every call of it is an evaluation."""

    def before(module: UNet2DConditionModel, args: tuple[Any, ...]) -> None:
        cascade.begin(rows, (args[0].shape[-2], args[0].shape[-1]))

    def refuse(sentence: str) -> None:
        raise AssertionError(sentence)

    hook = unet.register_forward_pre_hook(before)
    try:
        with installed(unet, lambda: cascade, refuse, following=cascade.follower is not None):
            yield
    finally:
        hook.remove()


def main_context(cascade: Cascade) -> Tensor:
    """The main context as the last layer left it."""
    assert cascade.evaluation is not None
    return cascade.evaluation.main


def editorial_contexts(cascade: Cascade, before: Tensor) -> Tensor:
    """The editorial contexts of one picture as the last layer left them: the unconditional copy, then the edits."""
    assert cascade.evaluation is not None
    after = before.clone()
    for stream in cascade.evaluation.streams:
        for member, context in zip(stream.group.members, stream.context, strict=True):
            after[0 if member.edit is None else member.edit + 1] = context
    return after
