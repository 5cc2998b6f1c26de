"""The latent of the book world, by a formula: what an 8 x 8 block says beyond its neighbours.

Three channels are the whitened mean colour of a block. The fourth is a stroke of brightness across the block: of all
patterns the one that most of what cannot be told from the mean colours of the block and its eight neighbours lies
along. The means say where things are and of what colour; the decoder has seen everything and draws the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .loop import step_generator
from .worlds import World

STATISTICS_PICTURES = 384
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class LinearLatent:
    """The latent target: `whiten` (3, 3) and `centre` (3,) of mean colours, `stroke` (f, f) and its `spread`."""

    whiten: Tensor
    centre: Tensor
    stroke: Tensor
    spread: float

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, 4, H/f, W/f), about zero mean and unit variance in every channel."""
        factor = self.stroke.shape[0]
        mean = functional.avg_pool2d(pictures, factor)
        colour = torch.einsum("ij,bjhw->bihw", self.whiten, mean - self.centre[:, None, None])
        stroke = functional.conv2d(_brightness(pictures), self.stroke[None, None], stride=factor)
        return torch.cat([colour, stroke / self.spread], 1)


def _brightness(pictures: Tensor) -> Tensor:
    return torch.einsum("bchw,c->bhw", pictures, pictures.new_tensor(LUMINANCE))[:, None]


def fit_linear_latent(world: World, seed: int, device: torch.device) -> LinearLatent:
    """Fitted to a fixed sample of pictures, on the CPU so that every device gets the same."""
    cpu = torch.device("cpu")
    pictures = 2 * world.sample(STATISTICS_PICTURES, step_generator(cpu, seed, 10**6 + 1), cpu).pictures - 1
    factor = world.factor
    mean = functional.avg_pool2d(pictures, factor)
    colours = mean.movedim(1, -1).reshape(-1, 3).double()
    values, vectors = torch.linalg.eigh(torch.cov(colours.T))
    vectors = _positive(vectors)
    whiten = (vectors / values.sqrt()).T.flip(0).float().contiguous()

    blocks = functional.unfold(_brightness(pictures), factor, stride=factor).movedim(1, -1).reshape(-1, factor**2)
    blocks = (blocks - blocks.mean(1, keepdim=True)).double()
    around = functional.unfold(functional.pad(mean, (1, 1, 1, 1), mode="replicate"), 3)
    around = around.movedim(1, -1).reshape(-1, 27).double()
    around = torch.cat([around, torch.ones_like(around[:, :1])], 1)
    rest = blocks - around @ torch.linalg.lstsq(around, blocks).solution
    stroke = _positive(torch.linalg.eigh(rest.T @ rest).eigenvectors[:, -1:])[:, 0]
    spread = float((blocks @ stroke).std())
    return LinearLatent(
        whiten.to(device),
        colours.mean(0).float().to(device),
        stroke.float().reshape(factor, factor).to(device),
        spread,
    )


def _positive(vectors: Tensor) -> Tensor:
    """Eigenvectors (n, k) with their largest entries positive, for their sign is arbitrary."""
    return vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
