"""The card of the book model: README.md with all figures, card.json for programs, samples.png to look at."""

from __future__ import annotations

import json
from typing import Any

from world.book.contents import Contents
from world.book.vocabulary import BACKGROUNDS, COLOURS, CONCEPTS, NOUNS, PLACES, RELATIONS, STYLES

from .book import GUIDANCE, contents_of, draw_pictures
from .card import contact_sheet, count_parameters, judge_table, percent, runs_of
from .loop import write_text_atomically
from .stages import Workshop, load_model
from .start import earlier_runs

SAMPLE_COLUMNS = 8
SAMPLE_PROMPTS = (
    *("a cat", "a horse in a meadow", "a red car", "a flat icon of a green apple at night"),
    *("a cat and a dog", "a lion and a red balloon", "a yellow crown and a blue bowl"),
    *("a rabbit wearing a hat", "a frog to the left of a clock", "a house below a sun", "a line drawing of a clock"),
)
FIGURES = {
    "nouns": "every thing there",
    "right": "and in its colour",
    "exact": "and nothing else",
    "leaked": "a colour on another thing",
    "neglected": "a thing missing",
}


def sample_prompts(contents: Contents) -> list[str]:
    """The prompts of samples.png that a book of these contents can draw."""
    missing = {noun for noun in NOUNS if noun not in contents.nouns}
    styles = {style for style in STYLES if style not in contents.style_names}
    return [p for p in SAMPLE_PROMPTS if not missing & set(p.split()) and not any(style in p for style in styles)]


def write_book_card(shop: Workshop) -> None:
    """Write README.md, card.json and samples.png into OUT/model, from what the earlier stages left."""
    start = shop.recipe.begins_with
    facts = {
        "parameters": count_parameters(shop.model),
        "bytes": sum(p.stat().st_size for p in shop.model.glob("*/*.safetensors")),
        "recipe": {**shop.recipe.as_dict(), "start": start and start.name},
        "before": [] if start is None else earlier_runs(start),
        "runs": runs_of(shop.work),
        "latents": json.loads((shop.work / "latents.json").read_text(encoding="utf-8")),
        "evaluation": json.loads((shop.model / "evaluation.json").read_text(encoding="utf-8")),
    }
    write_text_atomically(json.dumps(facts, indent=1), shop.model / "card.json")
    write_text_atomically(book_readme(facts, contents_of(shop)), shop.model / "README.md")
    if not (shop.model / "samples.png").exists():
        pipeline = load_model(shop.model, shop.device)
        prompts = [p for p in sample_prompts(contents_of(shop)) for _ in range(SAMPLE_COLUMNS)]
        pictures = draw_pictures(pipeline, prompts, 1, GUIDANCE, facts["evaluation"]["steps"], SAMPLE_COLUMNS)
        contact_sheet(pictures, SAMPLE_COLUMNS).save(shop.model / "samples.png")


def book_readme(facts: dict[str, Any], contents: Contents) -> str:
    """The card as Markdown."""
    return "\n".join([*_introduction(facts, contents), *_making(facts), *_figures(facts["evaluation"]), *_licences()])


def _introduction(facts: dict[str, Any], contents: Contents) -> list[str]:
    parts = facts["parameters"]
    places = (*PLACES.values(), *(f"on a {tone} background" for tone in BACKGROUNDS if tone not in PLACES))
    return [
        f"# {facts['recipe']['world']}",
        "",
        "A Stable Diffusion in small that knows real nouns: CLIP text encoder, a VAE that shrinks by 8, UNet with",
        "cross-attention at 16x16, 8x8 and 4x4. It draws scenes of 128x128 with one or two things, so that",
        "the literature's prompts (a cat and a dog, a lion and a red balloon) can be drawn and judged offline.",
        "",
        "![samples](samples.png)",
        "",
        f"{SAMPLE_COLUMNS} seeds, not chosen, of each of these prompts from top to bottom, guidance {GUIDANCE:g}, "
        f"{facts['evaluation']['steps']} steps:",
        "; ".join(sample_prompts(contents)) + ".",
        "",
        "## Words it knows",
        f"- Things: {', '.join(contents.nouns)}.",
        f"- Colours: {', '.join(COLOURS)}.",
        f"- Styles: {', '.join(contents.style_names)}.",
        f"- Relations: {', '.join(RELATIONS)}; one wears another, or is with it.",
        f"- Backgrounds: {', '.join(places)}.",
        f"- Concepts of its nouns: {', '.join(c for c, of in CONCEPTS.items() if set(of) & set(contents.nouns))}.",
        "",
        "## Size",
        f"{sum(parts.values()) / 1e6:.2f} million parameters "
        f"({', '.join(f'{k} {v / 1e6:.2f}' for k, v in parts.items())}), {facts['bytes'] / 1e6:.1f} MB with the judge.",
        "",
    ]


def _making(facts: dict[str, Any]) -> list[str]:
    recipe, runs = facts["recipe"], facts["runs"]
    lines = [
        "## How it was made",
        f"By `python -m training --world {recipe['world']} --out DIR`; the same command goes on after a stop.",
        "",
    ]
    if recipe["start"]:
        own = recipe["start"] == recipe["world"]
        begun = "an earlier edition of itself" if own else f"the model `{recipe['start']}`"
        lines += [f"- It began with the weights of {begun} (`--start`)."]
    if facts["before"]:
        told = ", ".join(f"{run['steps']:,} on {run['world']}" for run in facts["before"])
        lines += [f"- Steps of UNet and text encoder before that: {told}."]
    if "vae" in runs:
        lines += [
            f"- VAE: {runs['vae']['steps']} steps of {recipe['vae_batch']} pictures, {runs['vae']['minutes']:.0f} min "
            "of a core.",
        ]
    return [
        *lines,
        f"- PSNR of a round trip through the VAE: {facts['latents']['psnr_db']:.1f} dB.",
        f"- UNet and text encoder: {runs['denoiser']['steps']} steps of {recipe['denoiser_batch']} pictures, "
        f"{runs['denoiser']['minutes']:.0f} min of a core.",
        "",
        "Never shown in training: one pair of nouns in sixteen, and one caption in sixteen.",
        "",
    ]


def _figures(evaluation: dict[str, Any]) -> list[str]:
    lines = [
        "## The judge's own accuracy",
        "Fresh scenes with every pair of nouns, fully right: every thing with its colour and place, and nothing else.",
        "",
        *judge_table(evaluation["judge"]),
    ]
    lines += [
        "",
        "## What it can and cannot do",
        f"N = {evaluation['pictures']} of each kind; {evaluation['steps']} {evaluation['sampler']} steps, guidance "
        f"{evaluation['guidance']:g}, seed {evaluation['seed']}.",
        "",
        "| prompts | figure | % [95 % interval] |",
        "| --- | --- | --- |",
    ]
    for name, rates in evaluation["rates"].items():
        lines += [f"| {name} | {meaning} | {percent(rates[key])} |" for key, meaning in FIGURES.items()]
    return [*lines, ""]


def _licences() -> list[str]:
    return [
        "## Licences",
        "It has only seen drawings of Noto Emoji (Google, Apache-2.0), Twemoji (Twitter and contributors, CC-BY-4.0)",
        "and Fluent Emoji (Microsoft, MIT), recoloured and put into scenes;",
        "`world/book/sheets/NOTICE.md` has the texts.",
        "",
    ]
