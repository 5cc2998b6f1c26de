"""What the model draws of what it is told, judged: objects, pairs, styles, relations, backgrounds, held-out ones.

Prompts come from the caption writer, with what they ask for by construction, and are captions that training never
showed. Every figure has its Wilson 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor

from world.shapes.captions import Captions, describe, write_captions
from world.shapes.judge import Verdict, Wanted, judge
from world.shapes.render import render
from world.shapes.scenes import (
    COLOURS,
    PATTERNS,
    RELATIONS,
    SHAPES,
    STYLES,
    TONES,
    Scene,
    SceneObject,
    held_out_combinations,
    pair_held_out,
    sample_scenes,
)
from world.shapes.sightings import Reading, read
from world.statistics import wilson

STEPS = 25
# The main sets are this many times as large as the others.
OTHERS = 4


@dataclass(frozen=True)
class Asked:
    """One prompt and what it asks for; style, tone, pattern and relation are None where it does not say."""

    prompt: str
    wanted: tuple[Wanted, ...]
    style: str | None = None
    tone: str | None = None
    pattern: str | None = None
    relation: str | None = None


@dataclass(frozen=True)
class Rate:
    """A share of `n` trials with its Wilson 95 % interval, all in [0, 1]."""

    rate: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def rate(hits: int, n: int) -> Rate:
    """`hits` of `n` with Wilson's interval; of no trials at all nothing is known."""
    if n == 0:
        return Rate(0.0, 0.0, 1.0, 0)
    found = wilson(hits, n)
    return Rate(round(found.value, 4), round(found.low, 4), round(found.high, 4), n)


def unseen_captions(count: int, n: int, seed: int, background: bool | None = None) -> list[Asked]:
    """`n` different captions of `count` objects, colour and shape named, that training held out; seeded.

    `background` True asks for captions that name the tone, False for captions without any background.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Asked] = {}
    # Far more are drawn than needed at first; a second round is the exception.
    while len(found) < n:
        scenes = sample_scenes(8192, generator, double_share=float(count - 1))
        captions = write_captions(scenes, generator)
        here = torch.arange(2) < count
        good = captions.held_out() & ((captions.names_shape & captions.names_colour) | ~here).all(1)
        if background is not None:
            named = captions.names_tone if background else captions.names_tone | captions.names_pattern
            good &= named == background
        for row in good.nonzero()[:, 0].tolist():
            asked = _asked(scenes.scene(row), captions, row)
            found.setdefault(asked.prompt, asked)
            if len(found) == n:
                break
    return list(found.values())


def _asked(scene: Scene, captions: Captions, row: int) -> Asked:
    relation = int(captions.relation[row])
    return Asked(
        captions.text(row),
        tuple(Wanted(o.shape, o.colour) for o in scene.objects),
        tone=scene.tone if captions.names_tone[row] else None,
        pattern=scene.pattern if captions.names_pattern[row] else None,
        relation=RELATIONS[relation] if relation >= 0 else None,
    )


def _ask(scene: Scene, *, background: bool = False, relation: str | None = None, style: str | None = None) -> Asked:
    return Asked(
        describe(scene, background=background, relation=relation),
        tuple(Wanted(o.shape, o.colour) for o in scene.objects),
        style,
        scene.tone if background else None,
        scene.pattern if background and scene.pattern != "plain" else None,
        relation,
    )


def held_out_pairs(n: int) -> list[Asked]:
    """`n` plain prompts of the eight colour-shape pairs that training never showed, in turn."""
    pairs = [(c, s) for c in range(8) for s in range(8) if pair_held_out(c, s)]
    return [_ask(Scene((SceneObject(SHAPES[s], COLOURS[c]),))) for c, s in (pairs[i % 8] for i in range(n))]


def _rows(rows: Sequence[tuple[int, int, int, int]], n: int, seed: int) -> list[Scene]:
    rows = [r for r in rows if r[0] != r[2]]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen = [rows[order[i % len(order)]] for i in range(n)]
    return [
        Scene((SceneObject(SHAPES[s1], COLOURS[c1]), SceneObject(SHAPES[s2], COLOURS[c2]))) for c1, s1, c2, s2 in chosen
    ]


def held_out_pairings(n: int, seed: int) -> list[Asked]:
    """`n` prompts "a C S and a C S" of combinations never shown together, colours and shapes different."""
    return [_ask(scene) for scene in _rows(held_out_combinations(), n, seed)]


def styled(n: int, seed: int) -> list[Asked]:
    """`n` single objects asked for as striped, dotted or outlined, in turn."""
    draw = torch.Generator().manual_seed(seed)
    result = []
    for i in range(n):
        colour, shape = (int(v) for v in torch.randint(8, (2,), generator=draw))
        style = STYLES[1 + i % 3]
        result.append(_ask(Scene((SceneObject(SHAPES[shape], COLOURS[colour], style),)), style=style))
    return result


def on_backgrounds(n: int, seed: int) -> list[Asked]:
    """`n` single objects on each tone and pattern in turn."""
    draw = torch.Generator().manual_seed(seed)
    result = []
    for i in range(n):
        colour, shape = (int(v) for v in torch.randint(8, (2,), generator=draw))
        scene = Scene((SceneObject(SHAPES[shape], COLOURS[colour]),), TONES[i % 5], PATTERNS[i // 5 % 3])
        result.append(_ask(scene, background=True))
    return result


def related(n: int, seed: int) -> list[Asked]:
    """`n` pairs in each of the four relations in turn, of combinations never shown together."""
    scenes = _rows(held_out_combinations(), n, seed)
    return [_ask(scene, relation=RELATIONS[i % 4]) for i, scene in enumerate(scenes)]


def sample(
    pipeline: StableDiffusionPipeline, prompts: list[str], seed: int, guidance: float, steps: int, batch: int
) -> Tensor:
    """(N, 3, 64, 64) pictures on the CPU; the noise of picture i depends on seed and i alone, on any device."""
    pictures = []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        noise = [
            torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed * 100_003 + start + i))
            for i in range(len(part))
        ]
        result = pipeline(
            part,
            num_inference_steps=steps,
            guidance_scale=guidance,
            latents=torch.cat(noise).to(pipeline.device, pipeline.unet.dtype),
            height=64,
            width=64,
            output_type="pt",
        )
        pictures.append(result.images.float().cpu())
    return torch.cat(pictures)


def rates(asked: Sequence[Asked], readings: Sequence[Reading]) -> dict[str, Rate]:
    """Shares of pictures that do what they were asked, over those that were asked for it."""
    verdicts = [judge(r, a.wanted) for a, r in zip(asked, readings, strict=True)]

    def share(test: Callable[[Asked, Reading, Verdict], bool | None]) -> Rate:
        answers = [test(a, r, v) for a, r, v in zip(asked, readings, verdicts, strict=True)]
        return rate(sum(a is True for a in answers), sum(a is not None for a in answers))

    result = {
        "colours": share(lambda a, r, v: v.colours),
        "shapes": share(lambda a, r, v: v.shapes),
        "binding": share(lambda a, r, v: v.binding),
        "exact": share(lambda a, r, v: v.exact),
        "tone": share(lambda a, r, v: None if a.tone is None else r.tone == a.tone),
        "pattern": share(lambda a, r, v: None if a.pattern is None else r.pattern == a.pattern),
        "style": share(lambda a, r, v: None if a.style is None else _wears(a, r)),
        "relation": share(lambda a, r, v: None if a.relation is None else _stands(a, r)),
    }
    if any(len(a.wanted) == 2 for a in asked):
        result["wrong_binding"] = share(lambda a, r, v: v.wrong_binding)
        result["one_neglected"] = share(lambda a, r, v: len(v.neglected) == 1)
        result["both_neglected"] = share(lambda a, r, v: len(v.neglected) == 2)
    return {name: rate for name, rate in result.items() if rate.n}


def _wears(asked: Asked, reading: Reading) -> bool:
    return any(asked.wanted[0].met_by(o) and o.style == asked.style for o in reading.objects)


def _stands(asked: Asked, reading: Reading) -> bool:
    """True if both objects are there as asked and stand as asked."""
    first, second = ([o for o in reading.objects if w.met_by(o)] for w in asked.wanted)
    if not first or not second:
        return False
    a, b = first[0], second[0]
    return {"left of": a.x < b.x, "right of": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}[str(asked.relation)]


def prompt_sets(n: int, seed: int) -> dict[str, list[Asked]]:
    """All the prompt sets: `n` prompts of the main two, unseen captions of one and of two objects, of others fewer."""
    few = -(-n // OTHERS)
    return {
        "one object, unseen captions": unseen_captions(1, n, seed),
        "one object, held-out pairs": held_out_pairs(few),
        "two objects, unseen captions": unseen_captions(2, n, seed + 1, background=False),
        "two objects, held-out combinations": held_out_pairings(few, seed + 2),
        "styles": styled(few, seed + 3),
        "backgrounds": on_backgrounds(few, seed + 4),
        "relations": related(few, seed + 5),
    }


def judge_accuracy(n: int, seed: int, vae: AutoencoderKL | None = None) -> dict[str, Rate]:
    """The judge's own accuracy on drawings, or after a round trip through a VAE: what it reads against the truth."""
    generator = torch.Generator().manual_seed(seed)
    result: dict[str, Rate] = {}
    for count, name in ((1, "one"), (2, "two")):
        scenes = sample_scenes(n, generator, double_share=float(count - 1))
        pictures = render(scenes)
        if vae is not None:
            pictures = round_trip(vae, pictures)
        readings = read(pictures)
        truths = [scenes.scene(i) for i in range(n)]
        exact = [
            judge(r, [Wanted(o.shape, o.colour) for o in t.objects]).exact
            for r, t in zip(readings, truths, strict=True)
        ]
        styles = [
            sum(
                any(o.shape == p.shape and o.colour == p.colour and o.style == p.style for p in r.objects)
                for o in t.objects
            )
            for r, t in zip(readings, truths, strict=True)
        ]
        result[f"{name}: exact"] = rate(sum(exact), n)
        result[f"{name}: colour, shape and style per object"] = rate(sum(styles), n * count)
        result[f"{name}: tone"] = rate(sum(r.tone == t.tone for r, t in zip(readings, truths, strict=True)), n)
        result[f"{name}: pattern"] = rate(sum(r.pattern == t.pattern for r, t in zip(readings, truths, strict=True)), n)
    return result


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pictures: Tensor, batch: int = 64) -> Tensor:
    """Pictures (N, 3, H, W) in [0, 1] encoded and decoded, on the CPU."""
    result = []
    for part in pictures.split(batch):
        given = (2 * part - 1).to(vae.device, vae.dtype)
        rebuilt = vae.decode(vae.encode(given).latent_dist.mean).sample
        result.append((rebuilt.float() / 2 + 0.5).clamp(0, 1).cpu())
    return torch.cat(result)


def evaluate(
    pipeline: StableDiffusionPipeline,
    sets: dict[str, list[Asked]],
    guidance: float,
    seed: int,
    steps: int = STEPS,
    batch: int = 32,
) -> dict[str, dict[str, dict[str, float]]]:
    """The rates of every prompt set at one guidance."""
    pipeline.set_progress_bar_config(disable=True)
    result = {}
    for name, asked in sets.items():
        pictures = sample(pipeline, [a.prompt for a in asked], seed, guidance, steps, batch)
        result[name] = {key: asdict(rate) for key, rate in rates(asked, read(pictures)).items()}
    return result
