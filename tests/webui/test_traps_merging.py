"""Extensions that attend to fewer or to other pixels: token merging (ToMe), HyperTile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.webui.asked import FULL, close, complaints


@contextmanager
def merged(model: Any, crossing: bool = False) -> Iterator[None]:
    """Pairs of neighbours attend as one, as ToMe does it: the blocks get another class.

    With ``crossing`` they also read the prompt as one; the host never asks for that, other extensions may.
    """
    blocks = [module for module in model.model.diffusion_model.modules() if hasattr(module, "attn2")]
    before = type(blocks[0])

    def together(x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).mean(2)

    def apart(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=1)

    class Merging(before):  # type: ignore[misc, valid-type]  # the class is found at run time
        def _forward(self: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
            x = apart(self.attn1(together(self.norm1(x)), context=None)) + x
            read = self.norm2(x)
            x = (apart(self.attn2(together(read), context=context)) if crossing else self.attn2(read, context)) + x
            output: Tensor = self.ff(self.norm3(x)) + x
            return output

        forward = _forward

    for block in blocks:
        block.__class__ = Merging
    try:
        yield
    finally:
        for block in blocks:
            block.__class__ = before


def mask() -> Tensor:
    half = torch.zeros(4, 6, 8)
    half[:, :, :4] = 1
    return half


def test_token_merging_leaves_the_words_every_pixel(host: Any) -> None:
    without = host.make(prompt=FULL)
    with merged(host.shared.sd_model):
        plain = host.make(prompt="a cat on a sofa")
        job = host.job(prompt=FULL, is_img2img=True, nmask=mask())
        masked = host.processing.process_images(job).images[0]
        made = host.make(prompt=FULL)
        host.shared.opts.upcast_attn = True
        assert close(host.make(prompt=FULL)[0], made[0])
        host.shared.opts.upcast_attn = False
        assert torch.equal(host.make(prompt="a cat on a sofa"), plain)
    assert not complaints(job)
    assert not close(made[0], plain[0])
    assert not close(made[0], without[0])
    assert masked.isfinite().all()
    assert torch.equal(host.make(prompt=FULL), without)


def test_pixels_that_read_the_prompt_in_pairs(host: Any) -> None:
    """Without a mask all is well; a mask cannot be laid over pairs, and one sentence for each layer says so."""
    with merged(host.shared.sd_model, crossing=True):
        plain = host.make(prompt="a cat on a sofa")
        job = host.job(prompt=FULL)
        assert not close(host.processing.process_images(job).images[0], plain[0])
        assert not complaints(job)
        job = host.job(prompt=FULL, is_img2img=True, nmask=mask())
        masked = host.processing.process_images(job).images[0]
    assert masked.isfinite().all()
    assert complaints(job)
    assert all("EBCA was not applied in " in comment for comment in complaints(job))


@pytest.mark.parametrize("tiles", [2, 3])
def test_hypertile_keeps_its_forwards(host: Any, tiles: int) -> None:
    """It puts a forward of its own on the layers that read the picture, and leaves it there."""
    unet = host.shared.sd_model.model.diffusion_model
    layers = [module for name, module in unet.named_modules() if name.endswith("attn1")]
    without = host.make(prompt=FULL)

    def tiled(found: Any) -> Any:
        def forward(x: Tensor, *args: Any, **keywords: Any) -> Tensor:
            parts = [found(part, *args, **keywords) for part in x.chunk(tiles, dim=1)]
            return torch.cat(parts, dim=1)

        return forward

    for layer in layers:
        layer.forward = tiled(layer.forward)
    ours = [layer.forward for layer in layers]
    try:
        plain = host.make(prompt="a cat on a sofa")
        job = host.job(prompt=FULL)
        made = host.processing.process_images(job).images[0]
        assert [layer.forward for layer in layers] == ours
        assert not complaints(job)
        assert not close(made, plain[0])
        assert not close(made, without[0])
        assert torch.equal(host.make(prompt="a cat on a sofa"), plain)
    finally:
        for layer in layers:
            del layer.forward
    assert torch.equal(host.make(prompt=FULL), without)
