"""The stages of making the model, each leaving its result in the folder and skipped if it is there."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from .assemble import make_pipeline, save_pipeline
from .denoiser import Denoiser, make_denoiser, train_denoiser
from .evaluate import STEPS, evaluate, judge_accuracy, prompt_sets
from .loop import Budget, LoopSettings, save_atomically, write_text_atomically
from .networks import FULL, Sizes, make_vae
from .pointing import pointing
from .start import begin_with, steps_before
from .tokenizer import build_tokenizer, save_tokenizer
from .vae import measure_latents, train_vae
from .worlds import WORLDS, World

ROOT = Path(__file__).parent.parent
SNAPSHOTS = (0.7, 0.85, 1.0)
GUIDANCES = (3.0,)
COMPARED_AT = 3.0
ONE, TWO = "one object, unseen captions", "two objects, unseen captions"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, but the machine."""

    vae: Budget
    denoiser: Budget
    world: str = "shapes"
    seed: int = 0
    vae_batch: int = 256
    denoiser_batch: int = 512
    vae_rate: float = 1.5e-3
    denoiser_rate: float = 1.2e-3
    sizes: Sizes = field(default=FULL)
    start: str | None = None
    vae_goes_on: bool = False

    @property
    def begins_with(self) -> Path | None:
        """The folder of the model that it starts with; `start` is told from the repository's root."""
        return None if self.start is None else ROOT / self.start

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        sizes = dict(values["sizes"])
        sizes.update(unet=tuple(sizes["unet"]), vae=tuple(sizes["vae"]))
        nested = {"vae": Budget(**values["vae"]), "denoiser": Budget(**values["denoiser"]), "sizes": Sizes(**sizes)}
        return Recipe(**{**values, **nested})


@dataclass(frozen=True)
class Workshop:
    """Where and on what the model is made: OUT/work holds what resuming needs, OUT/model the result."""

    out: Path
    device: torch.device
    recipe: Recipe
    compiled: bool = False
    checkpoint_seconds: float = 30.0

    @property
    def work(self) -> Path:
        return self.out / "work"

    @property
    def world(self) -> World:
        return WORLDS[self.recipe.world]

    @property
    def model(self) -> Path:
        return self.out / "model"


def told_from_root(start: Path) -> str:
    """How a recipe names a folder: from the repository's root if it lies in it, so that a moved checkout finds it."""
    whole = start.resolve()
    return str(whole.relative_to(ROOT.resolve()) if whole.is_relative_to(ROOT.resolve()) else whole)


def open_workshop(
    out: Path, device: torch.device, recipe: Recipe, compiled: bool = False, checkpoint_seconds: float = 30.0
) -> Workshop:
    """The workshop in `out`; a recipe found there goes on, whatever is asked for now."""
    (out / "work").mkdir(parents=True, exist_ok=True)
    path = out / "work" / "recipe.json"
    if path.exists():
        found = Recipe.from_dict(json.loads(path.read_text(encoding="utf-8")))
        if found != recipe:
            print(f"going on with the recipe found in {path}", flush=True)
        recipe = found
    else:
        write_text_atomically(json.dumps(recipe.as_dict(), indent=1), path)
    return Workshop(out, device, recipe, compiled, checkpoint_seconds)


def note_time(shop: Workshop, stage: str, seconds: float) -> None:
    """Add to the time a stage has taken, over all runs, and record the machine's kind."""
    path = shop.work / "times.json"
    times = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    times[stage] = round(times.get(stage, 0.0) + seconds, 1)
    cuda = shop.device.type == "cuda"
    times["device"] = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    times["torch"] = torch.__version__
    write_text_atomically(json.dumps(times, indent=1), path)


def get_tokenizer(shop: Workshop) -> CLIPTokenizer:
    """The tokenizer, learnt once."""
    folder = shop.work / "tokenizer"
    if not (folder / "merges.txt").exists():
        # The whole world's, so that a model of a part can go on with the whole.
        save_tokenizer(build_tokenizer(shop.recipe.seed, shop.world.whole), folder)
    return CLIPTokenizer.from_pretrained(folder)


def get_vae(shop: Workshop) -> AutoencoderKL:
    """The VAE, trained if neither it nor one of its shape is there in the model that the recipe starts with.

    That one is taken as it is, unless the recipe says that its training goes on."""
    path, recipe = shop.work / "vae.pt", shop.recipe
    known: AutoencoderKL | None = None
    if not path.exists() and recipe.begins_with is not None:
        found = AutoencoderKL.from_pretrained(recipe.begins_with / "vae", torch_dtype=torch.float32)
        if tuple(found.config.block_out_channels) != recipe.sizes.vae:
            pass
        elif recipe.vae_goes_on:
            known = found
        else:
            latents = measure_latents(found.eval().to(shop.device), shop.device, recipe.seed, shop.world)
            write_text_atomically(json.dumps(latents, indent=1), shop.work / "latents.json")
            save_atomically(found.state_dict(), path)
    if not path.exists():
        settings = LoopSettings(recipe.vae, recipe.vae_rate, decay=0.998, checkpoint_seconds=shop.checkpoint_seconds)
        vae = train_vae(
            shop.work, settings, recipe.vae_batch, shop.device, recipe.seed, recipe.sizes, shop.world, known
        )
        save_atomically(vae.state_dict(), path)
        print(f"vae: {(shop.work / 'latents.json').read_text(encoding='utf-8')}", flush=True)
    state = torch.load(path, map_location=shop.device, weights_only=True)
    vae = make_vae(recipe.sizes).to(shop.device)
    vae.load_state_dict(state)
    return vae.eval()


def get_denoiser(shop: Workshop, tokenizer: CLIPTokenizer, share: int = 100) -> Denoiser:
    """The denoiser as it was at `share` per cent of its training, trained if the end is not there."""
    recipe = shop.recipe
    if not (shop.work / "denoiser-100.pt").exists():
        settings = LoopSettings(
            recipe.denoiser,
            recipe.denoiser_rate,
            decay=0.9985,
            snapshots=SNAPSHOTS,
            checkpoint_seconds=shop.checkpoint_seconds,
        )
        train_denoiser(
            shop.work,
            settings,
            recipe.denoiser_batch,
            shop.device,
            recipe.seed,
            tokenizer,
            recipe.sizes,
            shop.compiled,
            shop.world,
            partial(_begin, tokenizer=tokenizer, start=recipe.begins_with),
            steps_before(recipe.begins_with),
        )
    model = make_denoiser(tokenizer, recipe.sizes).to(shop.device)
    state = torch.load(shop.work / f"denoiser-{share:03d}.pt", map_location=shop.device, weights_only=True)
    model.load_state_dict(state)
    return model.eval()


def _begin(denoiser: Denoiser, tokenizer: CLIPTokenizer, start: Path | None) -> None:
    if start is not None:
        print(f"denoiser: {begin_with(denoiser, tokenizer, start):.1%} of the weights from {start}", flush=True)


def compare_snapshots(
    shop: Workshop, vae: AutoencoderKL, tokenizer: CLIPTokenizer, pictures: int, batch: int
) -> dict[str, Any]:
    """Judge the weights at each snapshot and choose: the best mean of right bindings of one and two objects."""
    path = shop.work / "comparison.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    sets = {k: v for k, v in prompt_sets(pictures, shop.recipe.seed + 100).items() if k in (ONE, TWO)}
    figures = {}
    for share in (round(100 * s) for s in SNAPSHOTS):
        pipeline = make_pipeline(vae, get_denoiser(shop, tokenizer, share), tokenizer)
        figures[str(share)] = evaluate(pipeline, sets, COMPARED_AT, shop.recipe.seed + 100, STEPS, batch)
        print(f"at {share} %: {_summary(figures[str(share)])}", flush=True)
    scores = {share: sum(f[s]["binding"]["rate"] for s in (ONE, TWO)) / 2 for share, f in figures.items()}
    # Ties go to the longer training.
    chosen = max(scores, key=lambda share: (scores[share], int(share)))
    result = {"chosen": int(chosen), "scores": scores, "guidance": COMPARED_AT, "pictures": pictures, "rates": figures}
    write_text_atomically(json.dumps(result, indent=1), path)
    return result


def export(shop: Workshop, vae: AutoencoderKL, tokenizer: CLIPTokenizer, share: int) -> None:
    """Write OUT/model, a diffusers folder in float16."""
    if not (shop.model / "model_index.json").exists():
        denoiser = get_denoiser(shop, tokenizer, share)
        save_pipeline(make_pipeline(vae, denoiser, tokenizer), tokenizer, shop.model)


def load_model(folder: Path, device: torch.device) -> StableDiffusionPipeline:
    """The exported folder as users load it, computing in float32."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def evaluate_model(shop: Workshop, pictures: int, batch: int) -> dict[str, Any]:
    """Judge the exported model at every guidance, and the judge itself; kept in OUT/model/evaluation.json."""
    path = shop.model / "evaluation.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    pipeline = load_model(shop.model, shop.device)
    sets = prompt_sets(pictures, shop.recipe.seed + 200)
    began = time.perf_counter()
    judged = {
        "drawings": judge_accuracy(1000, 7),
        "after a VAE round trip": judge_accuracy(1000, 7, pipeline.vae),
    }
    accuracy = {name: {k: asdict(r) for k, r in rates.items()} for name, rates in judged.items()}
    rates = {}
    for guidance in GUIDANCES:
        rates[str(guidance)] = evaluate(pipeline, sets, guidance, shop.recipe.seed + 200, STEPS, batch)
        print(f"guidance {guidance}: {_summary(rates[str(guidance)])}", flush=True)
    pointed = pointing(pipeline, pictures, shop.recipe.seed + 200)
    result = {
        "pictures": pictures,
        "sampler": "DDIM",
        "steps": STEPS,
        "seed": shop.recipe.seed + 200,
        "seconds": round(time.perf_counter() - began, 1),
        "judge": accuracy,
        "pointing": {size: asdict(found) for size, found in pointed.items()},
        "rates": rates,
        "prompts": {name: [a.prompt for a in asked[:8]] for name, asked in sets.items()},
    }
    write_text_atomically(json.dumps(accuracy, indent=1), shop.model / "judge.json")
    write_text_atomically(json.dumps(result, indent=1), path)
    return result


def _summary(rates: dict[str, dict[str, dict[str, float]]]) -> str:
    return "; ".join(f"{name}: binding {100 * values['binding']['rate']:.1f} %" for name, values in rates.items())
