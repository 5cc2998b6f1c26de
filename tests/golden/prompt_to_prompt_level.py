"""Levels of Prompt-to-Prompt and P2P-HRV: the published code's numbers on small random UNets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any

import torch
from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
from torch import Tensor

from lib_ebca.attention.blending import blended_latents
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Blend, Following, Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.methods.alignment import (
    Alignment,
    TokenRows,
    aligned,
    published_replace_mapper,
    refine_mapper,
)
from lib_ebca.methods.prompt_to_prompt import (
    Span,
    cross_windows,
    equaliser,
    followed,
    mixture,
    self_window,
    window,
)
from tests.golden.case import Case, numbers_of
from tests.golden.unet_level import conducted, unet_named

SCHEDULERS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}
LENGTH = 77
LARGEST_SELF = 16 * 16
DEFAULT = "default_"


def run_tables(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``word_indices``, mappers and windows of a case's prompts."""
    settings = case.meta["settings"]
    source, *targets = settings["prompts"]
    rows = {prompt: rows_of(settings, prompt) for prompt in settings["prompts"]}
    steps = settings["num_steps"]
    partners = [refine_mapper(rows[source], rows[target], published=True) for target in targets]
    windows = [_windows(settings, target) for target in targets]
    found = {
        "cross_alpha": torch.stack([cross_windows(steps, LENGTH, *each) for each in windows], 1),
        "refine_mapper": torch.tensor(partners),
        "refine_alphas": torch.tensor([[float(partner >= 0) for partner in each] for each in partners]),
    }
    if "out64.replace_mapper" in case.tensors:
        mappers = [published_replace_mapper(rows[source], rows[target]) for target in targets]
        found["replace_mapper"] = torch.stack(mappers).to(dtype)
    words = {prompt: [list(word) for word in rows[prompt].words] for prompt in settings["prompts"]}
    return found | numbers_of({"word_indices": words})


def run_attention(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``stepK_probs_i``: the edits' conditional maps of each layer, written out."""
    settings = case.meta["settings"]
    edits = [following_of(settings, number) for number in range(1, len(settings["prompts"]))]
    found = {}
    for step in settings["steps"]:
        for number, layer in enumerate(settings["layers"]):
            heads = layer.get("heads", settings.get("heads"))
            maps = case.given(f"in.{layer['input']}", dtype).unflatten(0, (2, -1, heads))[1]
            new = [_step_map(case, edit, step, layer, maps[0], own) for edit, own in zip(edits, maps[1:], strict=True)]
            found[f"step{step}_probs_{number}"] = torch.cat(new)
    return found


def _step_map(case: Case, edit: Following, step: int, layer: Mapping[str, Any], source: Tensor, own: Tensor) -> Tensor:
    settings = case.meta["settings"]
    if not layer["cross"]:
        follows = step in self_window(edit.self_, settings["num_steps"]) and own.shape[-1] <= LARGEST_SELF
        return source if follows else own
    windows = cross_windows(settings["num_steps"], LENGTH, edit.cross, edit.words)[step]
    new = followed(source, own, mixture(edit.alignment, windows, edit.factors, edit.kept))
    if edit.kept and windows[list(edit.kept)].all():
        first = layer["first_column"]
        vector = case.given("in.hrv", own.dtype)[settings["concept"], first : first + layer["heads"]]
        new[..., list(edit.kept)] *= vector[:, None, None]
    return new


def run_loop(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``latents`` and ``trajectory`` of source and edits side by side, through the fused layers."""
    settings = case.meta["settings"]
    count, steps = len(settings["prompts"]), settings["num_steps"]
    pictures = [Picture()]
    timetables = [Timetable((Values(),) * (steps + 1))]
    for number in range(1, count):
        factors = _concept(case, dtype)
        pictures.append(Picture(factors=factors, following=following_of(settings, number)))
        on = window(_span(settings["cross_replace_steps"]), steps + 1) if factors else range(0)
        timetables.append(Timetable(tuple(Values(factors=(i in on,) * len(factors)) for i in range(steps + 1))))
    cascade = Cascade(pictures, timetables)
    scheduler = SCHEDULERS[settings["scheduler"]].from_config(settings["scheduler_config"])
    unet = unet_named(case.folder, settings["weights"], dtype)
    pipe = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    trajectory: list[Tensor] = []

    def after_step(pipe: Any, index: int, timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        assert cascade.follower is not None
        trajectory.append(blended_latents(cascade.follower, state["latents"], cascade.number))
        return {"latents": trajectory[-1]}

    embeds = case.given("in.embeds", dtype)
    with conducted(unet, cascade, Rows.guided(count)):
        latents = pipe(
            prompt_embeds=embeds[count:],
            negative_prompt_embeds=embeds[:count],
            latents=case.given("in.latents", dtype).expand(count, -1, -1, -1),
            num_inference_steps=settings["num_inference_steps"],
            guidance_scale=settings["guidance_scale"],
            callback_on_step_end=after_step,
            output_type="latent",
        ).images
    timesteps = scheduler.timesteps.to(torch.float64)
    return {"latents": latents, "trajectory": torch.stack(trajectory), "timesteps": timesteps}


def rows_of(settings: Mapping[str, Any], prompt: str) -> TokenRows:
    """A prompt of a case: words split at single spaces, each of the pieces that the case lists."""
    tokens = settings["tokens"][prompt]
    pieces, words = tokens["pieces"][1:-1], prompt.split(" ")
    ends = list(accumulate(len(piece) for piece in pieces))
    limits = [0, *accumulate(len(word) for word in words)]
    groups = tuple(
        tuple(row for row, end in enumerate(ends, 1) if first < end <= last) for first, last in pairwise(limits)
    )
    ids = tokens["ids"]
    return TokenRows((*ids, *[ids[-1]] * (LENGTH - len(ids))), groups, len(ids), LENGTH)


def following_of(settings: Mapping[str, Any], number: int) -> Following:
    """What an edit of a case takes from its source."""
    prompts = settings["prompts"]
    source, target = rows_of(settings, prompts[0]), rows_of(settings, prompts[number])
    controller = settings.get("inner_controller") or settings.get("controller", "P2P-HRV replace")
    default, words = _windows(settings, prompts[number])
    factors = None
    if settings.get("equalizer"):
        asked = settings["equalizer"]
        columns = _columns(prompts[number], target, asked["words"])
        factors = equaliser(LENGTH, {(column,): value for column, value in zip(columns, asked["values"], strict=True)})
    blend = None
    if settings.get("local_blend_words"):
        marks = settings["local_blend_words"]
        blend = Blend(
            _columns(prompts[0], source, marks[0]),
            _columns(prompts[number], target, marks[number]),
            settings["blend_threshold"],
            pixels=16 * 16,
        )
    return Following(
        0,
        _alignment(source, target, controller),
        default,
        words,
        _span(settings["self_replace_steps"]),
        factors,
        tuple(settings.get("columns", ())),
        LARGEST_SELF,
        blend,
    )


def _alignment(source: TokenRows, target: TokenRows, controller: str) -> Alignment:
    if controller == "reweight":
        return Alignment(torch.eye(LENGTH, dtype=torch.float64), torch.zeros(LENGTH, dtype=torch.float64))
    return aligned(source, target, "refine" if controller == "refine" else "replace", published=True)


def _windows(settings: Mapping[str, Any], prompt: str) -> tuple[Span, tuple[tuple[tuple[int, ...], Span], ...]]:
    asked = settings["cross_replace_steps"]
    if not isinstance(asked, dict):
        return _span(asked), ()
    rows = rows_of(settings, prompt)
    own = {word: _span(span) for word, span in asked.items() if word != DEFAULT and word in prompt.split(" ")}
    return _span(asked.get(DEFAULT, 1.0)), tuple((_columns(prompt, rows, word), span) for word, span in own.items())


def _columns(prompt: str, rows: TokenRows, word: str) -> tuple[int, ...]:
    found = [columns for each, columns in zip(prompt.split(" "), rows.words, strict=True) if each == word]
    return tuple(column for columns in found for column in columns)


def _span(asked: float | list[float]) -> Span:
    return (asked[0], asked[1]) if isinstance(asked, list) else (0.0, asked)


def _concept(case: Case, dtype: torch.dtype) -> tuple[TokenFactors, ...]:
    settings = case.meta["settings"]
    if "concept" not in settings:
        return ()
    vector = case.given("in.hrv", dtype)[settings["concept"]]
    return (TokenFactors(tuple(settings["columns"]), heads=tuple(vector.split(8))),)


RUNS: dict[str, Callable[[Case, torch.dtype], dict[str, Tensor]]] = {
    "p2p_tables": run_tables,
    "p2p_attention": run_attention,
    "p2p_loop": run_loop,
    "hrv_p2p_attention": run_attention,
    "hrv_p2p_loop": run_loop,
}
"""A run for each level, by its name."""
