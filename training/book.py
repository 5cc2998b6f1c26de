"""What is made and measured beside the book's VAE and denoiser: its judge, its scorer, and how well the model draws."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from world.book.captions import write_caption
from world.book.contents import WHOLE, Contents
from world.book.eye import EYE_FILE, WIDTHS, Eye, load_eye
from world.book.judge import Sighting, Wanted, judge
from world.book.scenes import sample_scene
from world.book.vocabulary import ANIMALS, COLOURS, OBJECTS

from .evaluate import Rate, rate
from .eye import eye_accuracy, train_eye
from .loop import Budget, LoopSettings, save_atomically, write_text_atomically
from .scorer import save_scorer, scorer_accuracy, train_scorer
from .stages import Workshop
from .worlds import Book

EYE_STEPS, EYE_RATE, EYE_BATCH = {"book": 12_000, "primer": 1700}, 1.5e-3, 32
SCORER_STEPS, SCORER_RATE, SCORER_BATCH = {"book": 8000, "primer": 1000}, 1e-3, 96
SCORER_ACCURACY = "accuracy.json"
TINY_WIDTHS = (16, 16, 16)
QUICK_STEPS = 4
GUIDANCE = 3.0


@dataclass(frozen=True)
class Asked:
    """One prompt and the things that it asks for."""

    prompt: str
    wanted: tuple[Wanted, ...]


def contents_of(shop: Workshop) -> Contents:
    """What the workshop's book shows. Raises TypeError for a world that is no book."""
    if not isinstance(shop.world, Book):
        raise TypeError(f"world: {shop.world.name!r} is no book")
    return shop.world.contents


def get_eye(shop: Workshop, vae: AutoencoderKL | None, quick: bool = False) -> Eye:
    """The judge's eye, trained if it is not there."""
    path, widths = shop.work / "eye.pt", TINY_WIDTHS if quick else WIDTHS
    if not path.exists():
        settings = LoopSettings(
            Budget(steps=QUICK_STEPS if quick else EYE_STEPS[shop.world.name]),
            EYE_RATE,
            checkpoint_seconds=shop.checkpoint_seconds,
        )
        batch = 4 if quick else EYE_BATCH
        contents = contents_of(shop)
        known = find_eye(shop.recipe.begins_with, widths)
        eye = train_eye(shop.work, settings, batch, shop.device, shop.recipe.seed, vae, widths, contents, known)
        save_atomically(eye.state_dict(), path)
    eye = Eye(widths).to(shop.device)
    eye.load_state_dict(torch.load(path, map_location=shop.device, weights_only=True))
    return eye.eval()


def find_eye(start: Path | None, widths: tuple[int, int, int]) -> Eye | None:
    """The judge's eye of the model that a recipe starts with, if it has one of these widths."""
    path = None if start is None else start / "judge" / EYE_FILE
    if path is None or not path.exists():
        return None
    eye = load_eye(path)
    return eye if eye.widths == widths else None


def get_scorer(shop: Workshop, tokenizer: CLIPTokenizer, vae: AutoencoderKL | None, quick: bool = False) -> None:
    """OUT/scorer, a CLIPModel's folder with its own accuracy beside it, trained if it is not there."""
    folder = shop.out / "scorer"
    if (folder / "config.json").exists():
        return
    budget = Budget(steps=QUICK_STEPS if quick else SCORER_STEPS[shop.world.name])
    settings = LoopSettings(budget, SCORER_RATE, checkpoint_seconds=shop.checkpoint_seconds)
    batch, width, layers = (4, 32, 1) if quick else (SCORER_BATCH, 128, 4)
    clip = train_scorer(shop.work, settings, batch, shop.device, shop.recipe.seed, tokenizer, shop.world, width, layers)
    kinds = {"drawings": None} if vae is None else {"drawings": None, "after a VAE round trip": vae}
    seed, count = shop.recipe.seed + 300, 8 if quick else 400
    rates = {
        kind: scorer_accuracy(clip, tokenizer, contents_of(shop), count, seed, each) for kind, each in kinds.items()
    }
    save_scorer(clip, tokenizer, folder)
    accuracy = {kind: {name: asdict(each) for name, each in found.items()} for kind, found in rates.items()}
    write_text_atomically(json.dumps(accuracy, indent=1), folder / SCORER_ACCURACY)


def prompt_sets(count: int, seed: int, contents: Contents = WHOLE) -> dict[str, list[Asked]]:
    """Prompts by what they ask for, `count` of each: one thing, one coloured, and the published three kinds of two."""
    draw = random.Random(seed)

    def coloured(noun: str) -> tuple[str, Wanted]:
        colour = draw.choice(COLOURS)
        return f"a {colour} {noun}", Wanted(noun, colour)

    def plain(noun: str) -> tuple[str, Wanted]:
        return f"a {noun}", Wanted(noun)

    def joined(*parts: tuple[str, Wanted]) -> Asked:
        return Asked(" and ".join(text for text, _ in parts), tuple(wanted for _, wanted in parts))

    sets: dict[str, list[Asked]] = {
        "one thing": [joined(plain(draw.choice((*ANIMALS, *OBJECTS)))) for _ in range(count)],
        "one coloured thing": [joined(coloured(draw.choice(OBJECTS))) for _ in range(count)],
        "two animals": [joined(*map(plain, draw.sample(ANIMALS, 2))) for _ in range(count)],
        "an animal and a coloured thing": [
            joined(plain(draw.choice(ANIMALS)), coloured(draw.choice(OBJECTS))) for _ in range(count)
        ],
        "two coloured things": [joined(*map(coloured, draw.sample(OBJECTS, 2))) for _ in range(count)],
    }
    unseen: list[Asked] = []
    while len(unseen) < count:
        scene = sample_scene(draw, 0.5, contents=contents)
        caption = write_caption(scene, draw)
        if caption.held_out:
            said = set(caption.words)
            wanted = tuple(Wanted(t.noun, t.colour if t.colour in said else None) for t in scene.things)
            unseen.append(Asked(caption.text, wanted))
    return {**sets, "unseen captions": unseen}


def rates(asked: Sequence[Asked], seen: Sequence[Sequence[Sighting]]) -> dict[str, Rate]:
    """Shares of pictures that do what they were asked."""
    verdicts = [judge(s, a.wanted) for a, s in zip(asked, seen, strict=True)]
    count = len(verdicts)
    return {
        "nouns": rate(sum(v.nouns for v in verdicts), count),
        "right": rate(sum(v.right for v in verdicts), count),
        "exact": rate(sum(v.exact for v in verdicts), count),
        "leaked": rate(sum(v.leaked for v in verdicts), count),
        "neglected": rate(sum(bool(v.neglected) for v in verdicts), count),
    }


@torch.no_grad()
def draw_pictures(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seed: int, guidance: float, steps: int, batch: int
) -> Tensor:
    """(N, 3, S, S) in [0, 1]; picture i has the seed `seed` + i, whatever the batch."""
    parts = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(some))]
        drawn = pipeline(
            some, guidance_scale=guidance, num_inference_steps=steps, generator=generators, output_type="pt"
        )
        parts.append(drawn.images.float().cpu())
    return torch.cat(parts)


def evaluate_book(
    shop: Workshop,
    pipeline: StableDiffusionPipeline,
    eye: Eye,
    pictures: int,
    batch: int,
    judged: int,
    steps: int,
) -> dict[str, Any]:
    """Judge the model on every prompt set, and the judge itself; kept in OUT/model/evaluation.json."""
    path = shop.model / "evaluation.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    began, seed = time.perf_counter(), shop.recipe.seed + 200
    contents = contents_of(shop)
    accuracy = {
        "drawings": eye_accuracy(eye, judged, seed + 1, contents=contents),
        "after a VAE round trip": eye_accuracy(eye, judged, seed + 1, pipeline.vae, contents=contents),
    }
    found = {}
    for name, asked in prompt_sets(pictures, seed, contents).items():
        drawn = draw_pictures(pipeline, [a.prompt for a in asked], seed, GUIDANCE, steps, batch)
        found[name] = rates(asked, eye.read(drawn.to(shop.device)))
        print(f"{name}: right {found[name]['right']}", flush=True)
    told = {name: {k: asdict(r) for k, r in values.items()} for name, values in accuracy.items()}
    write_text_atomically(json.dumps(told, indent=1), shop.model / "judge.json")
    result = {
        "pictures": pictures,
        "guidance": GUIDANCE,
        "sampler": "DDIM",
        "steps": steps,
        "seed": seed,
        "judge": told,
        "rates": {name: {k: asdict(r) for k, r in values.items()} for name, values in found.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_text_atomically(json.dumps(result, indent=1), path)
    return result
