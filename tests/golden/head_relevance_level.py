"""Levels of head relevance: the published code's numbers on small random UNets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.attention.value_factors import value_factors
from lib_ebca.methods.attend_and_excite import Objective
from lib_ebca.methods.head_order import columns
from lib_ebca.methods.head_relevance import (
    START,
    head_factors,
    least_relevant_first,
    most_relevant_first,
    ranking,
    relevance,
    similarity,
    votes,
    weakened_factors,
)
from lib_ebca.methods.head_weighted_maps import pooled, subject_scores
from tests.golden.case import Case
from tests.golden.unet_level import conducted, unet_named

SCHEDULERS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}
HEADS_OF_LAYER = 8


def run_votes(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``similarity`` and ``votes`` of one layer's heads."""
    words, lengths, draw = (case.tensors[f"in.{name}"] for name in ("concept_embeds", "lengths", "draw"))
    rows, owner = [words[0, draw[0], :1]], [START]
    for concept, word in enumerate(draw.tolist()):
        own = words[concept, word, 1 : int(lengths[concept, word]) - 1]
        rows.append(own)
        owner += [concept] * len(own)
    key = torch.cat(rows).to(dtype) @ case.given("in.w_k", dtype).T
    key = key.unflatten(-1, (case.meta["settings"]["heads"], -1)).transpose(0, 1)[None]
    query = case.given("in.queries", dtype)[None]
    similar = similarity(query, key, torch.tensor([owner]), len(draw))[0]
    return {"similarity": similar, "votes": votes(similar)}


def run_matrix(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``counts``, ``ranking`` and ``hrv`` of votes."""
    counts = case.tensors["in.votes"].long().sum((0, 1)).T
    return {"counts": counts, "ranking": ranking(counts).to(dtype), "hrv": relevance(counts).to(dtype)}


def factors_of(settings: Mapping[str, Any], vectors: Tensor) -> Tensor:
    """What every head's probabilities are multiplied by, (128,)."""
    if "order" in settings:
        vector = vectors[settings["concept"]]
        most = settings["order"].startswith("MoRHF")
        order = most_relevant_first(vector) if most else least_relevant_first(vector)
        return weakened_factors(order, settings["k"], settings["factor"], vectors.shape[1])
    strengthened = settings.get("mode") == "strengthen"
    weights = {settings["desired"]: 1.0} if strengthened else {settings["desired"]: 2.0, settings["undesired"]: -1.0}
    return head_factors(vectors, weights, settings["clamp"])


def run_layers(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``probs_i``: a layer's probabilities with factors, and for weakening which heads were."""
    settings = case.meta["settings"]
    factors = factors_of(settings, case.given("in.hrv", dtype))
    places = [slice(each["first_column"], each["first_column"] + each["heads"]) for each in settings["layers"]]
    by_layer = tuple(factors[place] for place in places)
    picture = Picture(factors=(TokenFactors(tuple(settings["columns"]), heads=by_layer),))
    found: dict[str, Tensor] = {}
    for number, each in enumerate(settings["layers"]):
        probabilities = case.given(f"in.{each['input']}", dtype).unflatten(0, (2, each["heads"]))
        given = probabilities.new_zeros(2, probabilities.shape[-1], 1)
        laid = value_factors([picture], [Values(factors=(True,))], Rows.guided(1), given)
        assert laid is not None
        # P diag(r) = P times the scaled "values" of an identity: the factors show as they are.
        identity = torch.eye(probabilities.shape[-1], dtype=dtype).repeat(2, 1, each["heads"])
        scaled = laid.scaled(identity, number).unflatten(-1, (each["heads"], -1)).transpose(1, 2)
        found[f"probs_{number}"] = (probabilities @ scaled).flatten(0, 1)
    if "order" in settings:
        vector = case.given("in.hrv", dtype)[settings["concept"]]
        order = most_relevant_first if settings["order"].startswith("MoRHF") else least_relevant_first
        found["weakened_columns"] = torch.tensor(order(vector)[: settings["k"]], dtype=dtype)
    return found


def run_loop(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``latents`` and ``trajectory`` of a pass with factors in every layer at every evaluation."""
    settings = case.meta["settings"]
    factors = factors_of(settings, case.given("in.hrv", dtype)).split(HEADS_OF_LAYER)
    picture = Picture(factors=(TokenFactors(tuple(settings["columns"]), heads=tuple(factors)),))
    cascade = Cascade([picture], [Timetable((Values(factors=(True,)),))])
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
        trajectory.append(state["latents"])
        return {}

    embeds = case.given("in.embeds", dtype)
    with conducted(unet, cascade, Rows.guided(1)):
        latents = pipe(
            prompt_embeds=embeds[1:],
            negative_prompt_embeds=embeds[:1],
            latents=case.given("in.latents", dtype),
            num_inference_steps=settings["num_inference_steps"],
            guidance_scale=settings["guidance_scale"],
            callback_on_step_end=after_step,
            output_type="latent",
        ).images
    timesteps = scheduler.timesteps.to(torch.float64)
    return {"latents": latents, "trajectory": torch.stack(trajectory), "timesteps": timesteps}


def run_weighted_maps(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``A``, ``maxima`` and ``loss`` of maps whose heads are weighted by a concept."""
    settings = case.meta["settings"]
    relevances = case.given("in.hrv", dtype)[settings["concepts"]] / 128
    attention = torch.zeros((), dtype=dtype)
    for layer in settings["layers"]:
        first, side = layer["first_column"], layer["side"]
        own = relevances[:, first : first + layer["heads"]]
        attention = attention + pooled(case.given(f"in.{layer['input']}", dtype), (side, side), own, settings["res"])
    text = torch.arange(attention.shape[-1]) > 0
    tokens = [[token] for token in settings["token_indices"]]
    maxima = subject_scores(
        attention, text, tokens, Objective(kernel="gaussian" if settings["smooth_attentions"] else None)
    )
    return {"A": attention, "maxima": maxima, "loss": (1 - maxima).relu().max()[None]}


def misplaced(table: Mapping[str, Any]) -> Sequence[str]:
    """The layers of a published table of heads that stand elsewhere in ours."""
    found = columns({layer["module"]: layer["heads"] for layer in reversed(table["layers"])})
    wanted = {
        layer["module"]: slice(layer["first_column"], layer["first_column"] + layer["heads"])
        for layer in table["layers"]
    }
    wrong = [name for name, place in wanted.items() if found[name] != place]
    return [*wrong, *(["columns"] if max(place.stop for place in found.values()) != table["columns"] else [])]


RUNS: dict[str, Callable[[Case, torch.dtype], dict[str, Tensor]]] = {
    "hrv_votes": run_votes,
    "hrv_matrix": run_matrix,
    "hrv_layer": run_layers,
    "hrv_weaken": run_layers,
    "hrv_loop": run_loop,
    "hrv_ae_maps": run_weighted_maps,
}
"""A run for each level, by its name."""
