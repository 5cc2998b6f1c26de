"""The judge's eye: a small network that finds the centres of things, their nouns and their colours.

Source of the form: Zhou et al., "Objects as Points", 2019.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from .judge import Sighting
from .scenes import SIZE, Scene
from .sprites import OWN
from .vocabulary import COLOURS, NOUNS, WORN

EYE_FILE = "eye.safetensors"
CELLS = 16
CELL = SIZE // CELLS
WIDTHS = (48, 96, 160)
# Chosen on 192 fresh scenes of one thing and of two after the VAE: the most are read fully right.
THRESHOLD = 0.35
# Glasses may have their centre where a face has its own, so what can be worn is found apart from all else.
LAYERS = 2
LAYER_OF = tuple(int(noun in WORN) for noun in NOUNS)
# Half-width of a centre's bump, in cells.
BUMP = 0.7
# Before training a centre is as likely as this.
PRIOR_LOGIT = -4.0


class Block(nn.Module):
    """Two convolutions around which the input goes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Eye(nn.Module):
    """Pictures to maps of centres and of colours over CELLS x CELLS cells."""

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        self.widths = widths
        fine, middle, coarse = widths
        self.fine = nn.Sequential(nn.Conv2d(3, fine, 4, stride=4), Block(fine))
        self.middle = nn.Sequential(nn.Conv2d(fine, middle, 2, stride=2), Block(middle), Block(middle))
        self.coarse = nn.Sequential(nn.Conv2d(middle, coarse, 2, stride=2), Block(coarse), Block(coarse))
        self.back = nn.Sequential(nn.Conv2d(middle + coarse, middle, 1), Block(middle))
        self.centres = nn.Conv2d(middle, len(NOUNS), 1)
        self.colours = nn.Conv2d(middle, LAYERS * (1 + len(COLOURS)), 1)
        nn.init.constant_(self.centres.bias, PRIOR_LOGIT)  # type: ignore[arg-type]  # the convolution has a bias

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of centres (B, nouns, CELLS, CELLS) and of colours by layer (B, layers, 1 + colours, CELLS, CELLS).

        pictures: (B, 3, SIZE, SIZE) in [0, 1]."""
        middle = self.middle(self.fine(2 * pictures - 1))
        wide = functional.interpolate(self.coarse(middle), scale_factor=2, mode="nearest")
        shared = self.back(torch.cat([middle, wide], 1))
        return self.centres(shared), self.colours(shared).unflatten(1, (LAYERS, -1))

    @torch.no_grad()
    def read(self, pictures: Tensor) -> list[tuple[Sighting, ...]]:
        """What is in each of the pictures (B, 3, SIZE, SIZE) in [0, 1], surest first."""
        return read_maps(*self(pictures))


def save_eye(eye: Eye, path: Path) -> None:
    """Write an eye's weights in float16 to `path`, a safetensors file; its widths can be read from their shapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in eye.state_dict().items()}, path)


def load_eye(path: Path) -> Eye:
    """The eye that `save_eye` wrote, in float32, on the CPU."""
    weights = {name: value.float() for name, value in load_file(path).items()}
    fine, middle, coarse = (weights[f"{level}.1.body.0.weight"].shape[0] for level in ("fine", "middle", "coarse"))
    eye = Eye((fine, middle, coarse))
    eye.load_state_dict(weights)
    return eye.eval()


def read_maps(centres: Tensor, colours: Tensor, threshold: float = THRESHOLD) -> list[tuple[Sighting, ...]]:
    """Sightings from the logits of an eye: cells where a noun is likelier than any of its layer around."""
    chance = centres.sigmoid()
    layers = torch.tensor(LAYER_OF, device=centres.device)
    both = [(chance * (layers == layer)[:, None, None]).max(1) for layer in range(LAYERS)]
    score, noun = (torch.stack([found[i] for found in both], 1) for i in range(2))
    peak = (score == functional.max_pool2d(score, 3, stride=1, padding=1)) & (score > threshold)
    colour = colours.argmax(2)
    readings = []
    for row in range(len(score)):
        found = []
        for layer, y, x in peak[row].nonzero().tolist():
            number = int(colour[row, layer, y, x])
            name = None if number == OWN else COLOURS[number - 1]
            where = ((x + 0.5) * CELL, (y + 0.5) * CELL)
            found.append(Sighting(NOUNS[int(noun[row, layer, y, x])], name, *where, float(score[row, layer, y, x])))
        readings.append(tuple(sorted(found, key=lambda s: -s.score)))
    return readings


def targets(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Bumps (B, nouns, CELLS, CELLS), 1 where a centre is; colour numbers (B, LAYERS, CELLS, CELLS), -1 elsewhere."""
    bumps = torch.zeros(len(scenes), len(NOUNS), CELLS, CELLS)
    colours = torch.full((len(scenes), LAYERS, CELLS, CELLS), -1)
    axis = torch.arange(CELLS)
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            x, y = (min(CELLS - 1, max(0, int(v / CELL))) for v in (thing.x, thing.y))
            away = (axis - x).square() + (axis - y).square()[:, None]
            noun = NOUNS.index(thing.noun)
            bumps[row, noun] = torch.maximum(bumps[row, noun], (-away / (2 * BUMP**2)).exp())
            colours[row, LAYER_OF[noun], y, x] = thing.colour_number
    return bumps, colours


def eye_loss(centres: Tensor, colours: Tensor, bumps: Tensor, numbers: Tensor) -> Tensor:
    """A scalar: the focal loss of the centres a thing, and the cross-entropy of the colours where things are."""
    chance = centres.sigmoid()
    hit = bumps == 1
    found = (1 - chance).square() * functional.logsigmoid(centres)
    empty = (1 - bumps) ** 4 * chance.square() * functional.logsigmoid(-centres)
    focal = -torch.where(hit, found, empty).sum() / hit.sum().clamp(min=1)
    return focal + functional.cross_entropy(colours.transpose(1, 2), numbers, ignore_index=-1)
