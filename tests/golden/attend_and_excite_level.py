"""Levels of Attend-and-Excite: the published code's numbers on small random UNets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import log2
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation, Reading
from lib_ebca.attention.excite_record import ExciteRecord
from lib_ebca.attention.subjects import Asked, Subject, Subjects, text_columns
from lib_ebca.attention.weighted_watcher import WeightedWatcher
from lib_ebca.hosts.unet import installed, levels_of
from lib_ebca.methods.attend_and_excite import (
    MOST_REFINEMENTS,
    Ask,
    Objective,
    losses,
    pull,
    step_size,
    subject_scores,
)
from lib_ebca.methods.maps import smoothed, smoothing_kernel, text_shares
from tests.golden.case import Case

TOKENS = 77
PUBLISHED_HEADS, HEADS_OF_LAYER = 128, 8


def run_maps(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Aggregation, shares, smoothing and loss of given probabilities."""
    settings = case.meta["settings"]
    layers = [case.given(f"in.{layer['input']}", dtype) for layer in settings["layers"] if layer["used"]]
    mean = torch.cat(layers).mean(0)
    text, objective = torch.tensor(text_of(settings)), objective_of(settings)
    shares = text_shares(mean, text)
    size = (settings["res"], settings["res"])
    tokens = settings["token_indices"]
    scores = subject_scores(mean, size, text, [[token] for token in tokens], objective)
    loss, _ = pull(losses(scores), torch.ones_like(scores), objective)
    found = {
        "A": mean.unflatten(0, size),
        "text": shares[:, text].unflatten(0, size),
        "maxima": scores,
        "losses": losses(scores),
        "loss": loss[None],
    }
    if objective.kernel is not None:
        kernel = smoothing_kernel(dtype=dtype)
        found |= {"kernel": kernel, "smoothed": smoothed(shares[:, tokens].T.unflatten(-1, size), kernel)}
    return {name: found[name] for name in case.expected}


def run_gradient(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """One evaluation, its gradient and the step."""
    settings = case.meta["settings"]
    latents = case.given("in.latents", dtype)
    scene = Scene(case, dtype, latents)
    size = step_size(settings["scale_factor"], settings["step_index"], settings["n_timesteps"])
    updated = scene.altered(latents, settings["step_index"], Ask(None, True), settings["timestep"])
    (record,) = scene.excitation.records
    scores = torch.tensor(list(record.scores.values()), dtype=torch.float64)
    with torch.no_grad():
        attention = scene.attention(latents, settings["timestep"])
    return {
        "A": attention,
        "grad": (latents - updated) / size,
        "updated": updated,
        "loss": losses(scores).max()[None],
        "maxima": scores,
        "step_size": torch.tensor(size, dtype=torch.float64),
    }


def run_refine(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Refinement at one step, and the ordinary update after it."""
    settings = case.meta["settings"]
    latents = case.given("in.latents", dtype)
    ask = Ask(1.0 - settings["threshold"], True)
    found: dict[str, Tensor] = {}
    for name, asked in (("refined", Ask(ask.target, False)), ("updated", ask)):
        scene = Scene(case, dtype, latents)
        found[name] = scene.altered(latents, settings["step_index"], asked, settings["timestep"])
    (record,) = scene.excitation.records
    final = torch.tensor(list(record.after.values()), dtype=torch.float64)
    size = step_size(settings["scale_factor"], settings["step_index"], settings["n_timesteps"])
    return found | {
        "first_loss": torch.tensor([record.losses[0]], dtype=torch.float64),
        "iteration_losses": torch.tensor(record.losses[: record.refinements], dtype=torch.float64),
        "final_loss": losses(final).max()[None],
        "final_maxima": final,
        "iterations": torch.tensor(record.refinements),
        "step_size": torch.tensor(size, dtype=torch.float64),
    }


def run_loop(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """A whole pass."""
    settings = case.meta["settings"]
    latents, embeds = case.given("in.latents", dtype), case.given("in.embeds", dtype)
    kind = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}[settings["scheduler"]]
    scheduler = kind.from_config(settings["scheduler_config"])
    scheduler.set_timesteps(settings["num_inference_steps"])
    count = len(scheduler.timesteps)
    scene = Scene(case, dtype, latents, count)
    before: list[Tensor] = []
    after: list[Tensor] = []
    update_losses: list[float] = []
    sizes: list[float] = []
    weighted = "concepts" in settings
    refinements: dict[str, Tensor] = {}
    for number, timestep in enumerate(scheduler.timesteps):
        threshold = settings["thresholds"].get(str(number))
        ask = Ask(None if threshold is None else 1.0 - threshold, number < settings["max_iter_to_alter"])
        latents = scene.altered(latents, number, ask, timestep)
        for record in scene.taken():
            update_losses += record.losses[: record.updates]
            sizes += [step_size(settings["scale_factor"], number, count)] * record.updates
            if record.refinements:
                refinements[f"refinement_iterations.{number}"] = torch.tensor(record.refinements)
        before.append(latents)
        with torch.no_grad():
            un, cond = scene.unet(latents.expand(2, -1, -1, -1), timestep, embeds).sample.chunk(2)
        noise = un + settings["guidance_scale"] * (cond - un)
        latents = scheduler.step(noise, timestep, latents).prev_sample
        after.append(latents)
    return {
        "latents": latents,
        "before_step": torch.stack(before),
        "trajectory": torch.stack(after),
        "update_losses": torch.tensor(update_losses, dtype=torch.float64),
        **({} if weighted else {"update_step_sizes": torch.tensor(sizes, dtype=torch.float64)}),
        "timesteps": scheduler.timesteps,
        **refinements,
    }


class Scene:
    """A case's UNet, its subjects and their excitation."""

    def __init__(self, case: Case, dtype: torch.dtype, latents: Tensor, evaluations: int | None = None) -> None:
        settings = case.meta["settings"]
        self.unet = unet_of(case.folder, settings["weights"], dtype)
        self._embeds = case.given("in.embeds", dtype)[1:]
        side = settings["attention_res"]
        tokens = settings["token_indices"]
        heads = head_shares(case, dtype) if "concepts" in settings else [()] * len(tokens)
        subjects = tuple(
            Subject(str(token), (token,), settings["scale_factor"], heads=own)
            for token, own in zip(tokens, heads, strict=True)
        )
        self._subjects = subjects
        self.excitation = Excitation(
            [Subjects(subjects, text_of(settings))],
            1,
            levels_of(self.unet),
            evaluations=settings.get("n_timesteps", evaluations),
            reading=Reading(
                objective_of(settings),
                int(log2(latents.shape[-1] / side)),
                settings.get("max_refinement_steps", MOST_REFINEMENTS),
            ),
        )

    def altered(self, latents: Tensor, number: int, ask: Ask, timestep: Any) -> Tensor:
        """The latents after what is asked of a step."""
        asked = Asked(self._subjects, self._subjects, ask)
        return self.excitation.altered_as([asked], number, latents, self._evaluate(timestep))

    def attention(self, latents: Tensor, timestep: int) -> Tensor:
        """The attention that is read, (h, w, T), or (S, side, side, T) of subjects with concepts."""
        watcher = self.excitation.watched(latents, [0], self._evaluate(timestep), 0, [self._subjects])
        if isinstance(watcher, WeightedWatcher):
            return watcher.weighted(0)
        return watcher.mean[0].unflatten(0, watcher.size)

    def taken(self) -> list[ExciteRecord]:
        """The records since the last time."""
        records = list(self.excitation.records)
        self.excitation.records.clear()
        return records

    def _evaluate(self, timestep: Any) -> Callable[[Tensor, list[int], Cascade], None]:
        def evaluate(latents: Tensor, rows: list[int], cascade: Cascade) -> None:
            with conducted(self.unet, cascade):
                self.unet(latents, timestep, self._embeds)

        return evaluate


@contextmanager
def conducted(unet: UNet2DConditionModel, cascade: Cascade) -> Iterator[None]:
    """A UNet's layers under a cascade that has begun."""

    def refuse(sentence: str) -> None:
        raise AssertionError(sentence)

    with installed(unet, lambda: cascade, refuse):
        yield


@cache
def unet_of(folder: Path, name: str, dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet that a case names."""
    unet = UNet2DConditionModel(**Case(name, "weights", folder).meta["config"])
    unet.load_state_dict({key: tensor.float() for key, tensor in load_file(folder / f"{name}.safetensors").items()})
    return unet.to(dtype).eval().requires_grad_(False)


def run_weighted_refine(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """Gradient, step, refinement and ordinary update of subjects that are read head by head."""
    settings = case.meta["settings"]
    once, refined = run_gradient(case, dtype), run_refine(case, dtype)
    del refined["final_maxima"]
    once["A"] = once["A"][..., settings["token_indices"]]
    return refined | {"A": once["A"], "grad": once["grad"], "first_update": once["updated"]}


def head_shares(case: Case, dtype: torch.dtype) -> list[tuple[Tensor, ...]]:
    """How much each head counts for each subject, layer by layer."""
    vectors = case.given("in.hrv", dtype)[case.meta["settings"]["concepts"]]
    return [tuple((vector / PUBLISHED_HEADS).split(HEADS_OF_LAYER)) for vector in vectors]


def text_of(settings: dict[str, Any]) -> tuple[bool, ...]:
    """The tokens that share the pixels: up to the last place, or the words alone; of weighted heads all."""
    if "concepts" in settings:
        return tuple(place > 0 for place in range(TOKENS))
    return text_columns([settings["n_ids_of_prompt"] - 2], TOKENS, not settings["normalize_eot"])


def objective_of(settings: dict[str, Any]) -> Objective:
    """As published, with or without smoothing."""
    return Objective(kernel="published" if settings["smooth_attentions"] else None)


RUNS: dict[str, Callable[[Case, torch.dtype], dict[str, Tensor]]] = {
    "ae_maps": run_maps,
    "ae_gradient": run_gradient,
    "ae_refine": run_refine,
    "ae_loop": run_loop,
    "hrv_ae_refine": run_weighted_refine,
    "hrv_ae_loop": run_loop,
}
"""A run for each level, by its name."""
