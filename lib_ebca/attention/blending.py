"""What local blend sees of the layers: the maps of a few words at one level, averaged over heads and summed at once."""

from __future__ import annotations

from torch import Tensor

from lib_ebca.attention.following import FollowedRows, Follower
from lib_ebca.methods.prompt_to_prompt import blend_mask, blended


def look(
    follower: Follower,
    now: FollowedRows,
    query: Tensor,
    key: Tensor,
    scale: float | None,
    evaluation: int,
    size: tuple[int, int],
) -> None:
    """Add a layer's maps of the blend words, if the layer is of their size.

    What is added is the picture's map as it is after following, as published.

    Args:
        follower: takes the sums.
        now: who is looked at.
        query: (B, h, N, d).
        key: (B, h, T, d).
        scale: beta; None is 1 / sqrt(d).
        evaluation: number within the pass.
        size: height and width of the latent.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    for each in now.looked:
        blend = follower.following(each.picture).blend
        if blend is None or query.shape[2] != follower.level(blend.pixels, size):
            continue
        mixture = follower.mixture(each.picture, evaluation)
        source = (scale * query[each.source_row] @ key[each.source_row].transpose(-1, -2)).softmax(-1)
        own = (scale * query[each.row] @ key[each.row].transpose(-1, -2)).softmax(-1)
        words = list(blend.own_tokens)
        from_source, from_own = mixture.route[:, words].sum(1), mixture.own.new_zeros(len(mixture.own))
        from_own[words] = mixture.own[words]
        seen = source @ from_source.to(source) + own @ from_own.to(own)
        follower.add(each.picture, source[..., list(blend.source_tokens)].sum(-1).mean(0), seen.mean(0))


def blended_latents(follower: Follower, latents: Tensor, evaluation: int) -> Tensor:
    """The latents after a step, with the pictures' sources wherever local blend is off.

    Args:
        follower: of the pass.
        latents: (P, C, H, W), of all pictures; returned as they are where nothing blends.
        evaluation: number of the evaluation that the step belongs to.
    """
    size = (latents.shape[-2], latents.shape[-1])
    after = latents
    for picture in follower.numbers:
        following = follower.following(picture)
        blend = following.blend
        if blend is None or picture not in follower.sums:
            continue
        if evaluation < int(blend.start * follower.steps):
            continue
        shape = follower.shape(blend.pixels, size)
        source, own = (each.view(shape).float() for each in follower.sums[picture])
        mask = blend_mask(source, own, size, blend.threshold)
        after = after.clone() if after is latents else after
        after[picture] = blended(latents[following.source], latents[picture], mask)
    return after
