"""Maps of words in which each head counts as much as it cares for a concept (A&E-HRV).

Park et al., ICLR 2025: the maps of all cross-attention layers, brought to one small size and summed with the heads'
relevances as weights. Blur and resizing are linear, so the heads are summed first, and nothing large is kept: one map
of 8 x 8 for each subject and token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.methods.attend_and_excite import PUBLISHED, Objective, scores_of_maps
from lib_ebca.methods.maps import text_shares

SIDE = 8


def pooled(probabilities: Tensor, size: tuple[int, int], weights: Tensor, side: int = SIDE) -> Tensor:
    """One layer's part of the subjects' maps.

    Args:
        probabilities: (h, N, T), a picture's attention, head by head.
        size: height and width of the layer, N pixels.
        weights: (S, h), each subject's relevance of the layer's heads, over the number of all heads.
        side: of the maps.

    Returns:
        (S, side, side, T). Layers larger than that are blurred before they are made smaller; smaller ones are not.
    """
    summed = torch.einsum("sh,hnt->snt", weights.to(probabilities), probabilities)
    maps = summed.transpose(1, 2).unflatten(-1, size)
    maps = _blurred(maps, side)
    if size != (side, side):
        maps = F.interpolate(maps, (side, side), mode="bicubic", align_corners=False, antialias=False)
    return maps.permute(0, 2, 3, 1)


def subject_maps(attention: Tensor, text: Tensor, tokens: Sequence[int]) -> Tensor:
    """The share that each subject's token has of each pixel of its own map.

    Args:
        attention: (S, side, side, T), the sum of :func:`pooled` over the layers.
        text: (T,) of bool, the tokens that share the pixels.
        tokens: the token of each subject.

    Returns:
        (S, side, side).
    """
    shares = text_shares(attention.flatten(1, 2), text)
    maps = shares.unflatten(1, attention.shape[1:3])
    return torch.stack([maps[subject, ..., token] for subject, token in enumerate(tokens)])


def subject_scores(
    attention: Tensor,
    text: Tensor,
    subjects: Sequence[Sequence[int]],
    objective: Objective = PUBLISHED,
    mask: Tensor | None = None,
) -> Tensor:
    """The scores of one picture's subjects, (S,), in [0, 1].

    Args:
        attention: (S, side, side, T), the sum of :func:`pooled` over the layers.
        text: (T,) of bool, the tokens that share the pixels.
        subjects: the tokens of each subject.
        objective: how they are measured; where it smooths at all, this method does by a true Gaussian.
        mask: (side, side) in [0, 1]: where the subjects are looked for.
    """
    owner = [place for place, tokens in enumerate(subjects) for _ in tokens]
    maps = subject_maps(attention[owner], text, [token for tokens in subjects for token in tokens])
    kernel = None if objective.kernel is None else "gaussian"
    return scores_of_maps(maps, [len(tokens) for tokens in subjects], objective, kernel, mask)


def _blurred(maps: Tensor, side: int) -> Tensor:
    """(S, T, h, w), each axis blurred as far as it will be made smaller."""
    for axis in (2, 3):
        pixels = maps.shape[axis]
        if pixels <= side:
            continue
        # The published side of the kernel is odd for the sizes of whole halvings; for others it is made so.
        taps = pixels // side + 1
        taps += 1 - taps % 2
        sigma = 0.3 * ((taps - 1) / 2 - 1) + 0.8
        offsets = torch.arange(taps, dtype=maps.dtype, device=maps.device) - taps // 2
        line = torch.exp(-offsets.square() / (2 * sigma * sigma))
        line = line / line.sum()
        turned = maps.movedim(axis, -1)
        flat = F.pad(turned.flatten(0, 2)[:, None], (taps // 2, taps // 2), mode="reflect")
        blurred = F.conv1d(flat, line[None, None])[:, 0]
        maps = blurred.unflatten(0, turned.shape[:3]).movedim(-1, axis)
    return maps
