"""The model's card: README.md with all figures, card.json for programs, samples.png to look at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from world.shapes.scenes import COLOURS, PATTERNS, RELATIONS, SHAPES, STYLES, TONES

from .denoiser import GROUNDING, MIN_SNR
from .evaluate import sample
from .loop import write_text_atomically
from .networks import SCALING_FACTOR
from .pointing import TIMESTEP
from .stages import GUIDANCES, Workshop, load_model

SAMPLE_GUIDANCE = 3.0
SAMPLE_COLUMNS = 8
SAMPLE_PROMPTS = (
    "a red circle",
    "a photo of a green star",
    "a striped blue heart",
    "a dotted yellow triangle",
    "an outlined pink moon on a black background",
    "a purple ring on a white checkerboard background",
    "a red circle and a blue square",
    "a green cross left of an orange heart",
    "a cyan star above a purple square",
    "a yellow moon and a pink ring on a dark background",
)
FIGURES = {
    "colours": "colours",
    "shapes": "shapes",
    "binding": "right binding",
    "exact": "and nothing else",
    "wrong_binding": "a wrong binding",
    "one_neglected": "one object missing",
    "both_neglected": "both missing",
    "tone": "background tone",
    "pattern": "background pattern",
    "style": "style",
    "relation": "relation",
}

Rates = dict[str, dict[str, dict[str, float]]]


def write_card(shop: Workshop) -> None:
    """Write README.md, card.json and samples.png into OUT/model, from what the earlier stages left."""
    evaluation = json.loads((shop.model / "evaluation.json").read_text(encoding="utf-8"))
    facts = {
        "parameters": count_parameters(shop.model),
        "bytes": sum(p.stat().st_size for p in shop.model.rglob("*.safetensors")),
        "recipe": shop.recipe.as_dict(),
        "runs": runs_of(shop.work),
        "times": json.loads((shop.work / "times.json").read_text(encoding="utf-8")),
        "latents": json.loads((shop.work / "latents.json").read_text(encoding="utf-8")),
        "comparison": json.loads((shop.work / "comparison.json").read_text(encoding="utf-8")),
        "evaluation": {k: v for k, v in evaluation.items() if k != "prompts"},
    }
    write_text_atomically(json.dumps(facts, indent=1), shop.model / "card.json")
    write_text_atomically(_readme(facts), shop.model / "README.md")
    if not (shop.model / "samples.png").exists():
        pipeline = load_model(shop.model, shop.device)
        prompts = [p for p in SAMPLE_PROMPTS for _ in range(SAMPLE_COLUMNS)]
        pictures = sample(pipeline, prompts, 1, SAMPLE_GUIDANCE, evaluation["steps"], SAMPLE_COLUMNS)
        contact_sheet(pictures, SAMPLE_COLUMNS).save(shop.model / "samples.png")


def count_parameters(model: Path) -> dict[str, int]:
    """Numbers held by each part of a diffusers folder."""
    counts = {}
    for path in sorted(model.glob("*/*.safetensors")):
        with safe_open(path, "pt") as weights:
            counts[path.parent.name] = sum(weights.get_tensor(key).numel() for key in weights.keys())  # noqa: SIM118 (it is no dict: it can only be asked for its keys)
    return counts


def contact_sheet(pictures: Tensor, columns: int) -> Image.Image:
    """Pictures (N, 3, H, W) in [0, 1] side by side, `columns` to a row; N a multiple of it."""
    rows, (_, _, height, width) = len(pictures) // columns, pictures.shape
    grid = pictures.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * height, columns * width, 3)
    return Image.fromarray((grid.clamp(0, 1) * 255).round().to(torch.uint8).numpy())


def runs_of(work: Path) -> dict[str, dict[str, float]]:
    """Steps of each stage that was run and minutes they took, at the last measured pace."""
    runs = {}
    logs = {name: work / f"{name}.log.jsonl" for name in ("vae", "denoiser")}
    for name, log in logs.items():
        if not log.exists():
            continue
        last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        runs[name] = {"steps": last["step"], "minutes": round(last["step"] * last["seconds_per_step"] / 60, 2)}
    return runs


def percent(rate: dict[str, float]) -> str:
    """A share and its interval, in percent."""
    return f"{100 * rate['rate']:.1f} [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"


def judge_table(judge: Rates) -> list[str]:
    """The judge's own accuracy as a Markdown table: kinds of pictures, what was counted, and the share."""
    lines = [f"| {name} | {key} | {percent(rate)} |" for name, rates in judge.items() for key, rate in rates.items()]
    return ["| pictures | figure | % [95 % interval] |", "| --- | --- | --- |", *lines]


def _rates_table(rates: Rates) -> list[str]:
    lines = []
    for name, values in rates.items():
        lines += [f"| {name} | {FIGURES[key]} | {percent(values[key])} |" for key in FIGURES if key in values]
    return ["| prompts | figure | % [95 % interval] |", "| --- | --- | --- |", *lines]


def _readme(facts: dict[str, Any]) -> str:
    evaluation, comparison = facts["evaluation"], facts["comparison"]
    lines = [*_introduction(facts), *_making(facts), *_choice(comparison)]
    lines += [
        "## The judge's own accuracy",
        "1000 scenes each. `exact`: every object with its colour and shape, and nothing else.",
        "",
        *judge_table(evaluation["judge"]),
    ]
    lines += [
        "",
        "## What it can and cannot do",
        f"N = {evaluation['pictures']} for unseen captions, a quarter for the others; {evaluation['steps']} "
        f"{evaluation['sampler']} steps, seed {evaluation['seed']}, float32 from the",
        "float16 files. The prompts on styles and backgrounds may have been seen in training, the others not.",
        "",
    ]
    for guidance in GUIDANCES:
        lines += [f"### Guidance {guidance:g}", "", *_rates_table(evaluation["rates"][str(guidance)]), ""]
    lines += [
        "### Maps",
        f"Where the map of a shape's word is strongest, its object should be (two objects, timestep {TIMESTEP},",
        "mean of all layers of a size); chance is the share of the picture that the object covers.",
        "",
        "| map | words that point at their object, % [95 % interval] |",
        "| --- | --- |",
        *(f"| {size} | {percent(found)} |" for size, found in evaluation["pointing"].items()),
        "",
    ]
    return "\n".join(lines)


def _introduction(facts: dict[str, Any]) -> list[str]:
    parts = facts["parameters"]
    return [
        "# shapes",
        "",
        "A Stable Diffusion in small: CLIP text encoder, VAE, UNet with cross-attention at 16x16, 8x8 and 4x4, and the",
        "noise schedule of SD 1.x. It draws 64x64 pictures of one or two coloured shapes from simple English captions.",
        "It is there to try energy-based cross-attention without a download, and to measure it where the truth is",
        "known.",
        "",
        "![samples](samples.png)",
        "",
        f"{SAMPLE_COLUMNS} seeds, not chosen, of each of these prompts from top to bottom, "
        f"guidance {SAMPLE_GUIDANCE:g}, {facts['evaluation']['steps']} steps:",
        "; ".join(SAMPLE_PROMPTS) + ".",
        "",
        "## Words it knows",
        f"- Shapes: {', '.join(SHAPES)}.",
        f"- Colours: {', '.join(COLOURS)}.",
        f"- Styles: {', '.join(STYLES[1:])}. Relations: {', '.join(RELATIONS)}.",
        f"- Backgrounds: {', '.join(TONES)}; {', '.join(PATTERNS)}.",
        "",
        "Any other word is cut into pieces that it has hardly seen.",
        "",
        "## Size",
        f"{sum(parts.values()) / 1e6:.2f} million parameters "
        f"({', '.join(f'{k} {v / 1e6:.2f}' for k, v in parts.items())}), {facts['bytes'] / 1e6:.1f} MB in float16.",
        "",
    ]


def _making(facts: dict[str, Any]) -> list[str]:
    recipe, runs, times = facts["recipe"], facts["runs"], facts["times"]
    seen = runs["denoiser"]["steps"] * recipe["denoiser_batch"] / 1e6
    return [
        "## How it was made",
        "From nothing, on scenes drawn as they are needed, by `python -m training --out DIR`; the same command goes on",
        "after a stop.",
        "",
        f"- VAE: {runs['vae']['steps']} steps of {recipe['vae_batch']} pictures, peak learning rate "
        f"{recipe['vae_rate']:g}, {runs['vae']['minutes']:.1f} min. PSNR of a round trip: "
        f"{facts['latents']['psnr_db']:.1f} dB.",
        f"- UNet and text encoder together: {runs['denoiser']['steps']} steps of {recipe['denoiser_batch']} "
        f"({seen:.2f} million pictures), peak learning rate {recipe['denoiser_rate']:g}, "
        f"{runs['denoiser']['minutes']:.1f} min.",
        f"- Latents scaled by {SCALING_FACTOR:g}; the velocity is predicted, errors of the picture counting "
        f"min(snr, {MIN_SNR:g}) + 1.",
        "- Cross-attention learns where each word of a caption belongs (`training/grounding.py`), with the weight",
        f"  {GROUNDING:g}, which falls to 0 with the learning rate.",
        "- AdamW, warm-up, then constant, then linearly to 0 over the last 30 %; moving average; a tenth of the",
        f"  captions left out; seed {recipe['seed']}.",
        f"- On {times['device']}, torch {times['torch']}.",
        "",
        "Never shown in training: eight colour-shape pairs, about a sixteenth of the combinations of two pairs, and",
        "one caption in sixteen.",
        "",
    ]


def _choice(comparison: dict[str, Any]) -> list[str]:
    lines = [
        "### Which checkpoint",
        "Averaged weights after 70, 85 and 100 % of the steps were judged on unseen captions of one and of two",
        f"objects, {comparison['pictures']} each, at guidance {comparison['guidance']:g}. The best mean of the two",
        "rates of right binding is shipped; at 70 % the learning rate begins to fall.",
        "",
        "| steps done | one object | two objects | mean |",
        "| --- | --- | --- | --- |",
    ]
    for share, rates in comparison["rates"].items():
        one, two = (values["binding"] for values in rates.values())
        mark = " (shipped)" if int(share) == comparison["chosen"] else ""
        score = 100 * comparison["scores"][share]
        lines.append(f"| {share} %{mark} | {percent(one)} | {percent(two)} | {score:.1f} |")
    return [*lines, ""]
