"""Loading models: pipelines, tokenizers and LoRAs, with one sentence for whatever is in the way."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_ebca.studio import loras
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.interrupts import held_interrupts
from lib_ebca.studio.locate import INDEX, Kind, Location, locate, model_hash, pipeline_class, refuse_pickle
from lib_ebca.studio.named import exported_hash
from lib_ebca.studio.recipe import Settings, Source

DTYPES = ("float32", "float16", "bfloat16")
_HUB_TIMEOUT = 10.0
_PIPELINES = {"StableDiffusion": "StableDiffusionPipeline", "StableDiffusionXL": "StableDiffusionXLPipeline"}
# One key that only checkpoints of that family have, in the layout of the original training code.
_FILE_FAMILIES = {
    "conditioner.embedders.1.model.ln_final.weight": "StableDiffusionXL",
    "cond_stage_model.model.ln_final.weight": "StableDiffusion",
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": "StableDiffusion",
}


@dataclass(frozen=True)
class Model:
    """A loaded pipeline, ready to draw. `scheduler_config` is the model's own, whatever sampler draws later.

    `notes` are sentences for the user on what of it does nothing.
    `folder` is where it came from, None for a single file.
    """

    pipe: Any
    source: Source
    scheduler_config: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels that the model was made for."""
        sample = self.pipe.unet.config.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        return width * self.pipe.vae_scale_factor, height * self.pipe.vae_scale_factor


def load(settings: Settings, allow_pickle: bool = False, inpainting: bool = False) -> Model:
    """Loads the pipeline that `settings` name, with its LoRAs; one made for inpainting only where that is wanted.

    Without a device it goes to the fastest there is, without a dtype to float32 on a CPU and float16 elsewhere.
    Raises UserError.
    """
    location = locate(settings.model, allow_pickle)
    loras.files_of(settings.loras, allow_pickle)
    with _importing():
        import torch

        _hush_transformers()
        _hush_diffusers()
    device = settings.device or _fastest_device()
    dtype = settings.dtype or ("float32" if device == "cpu" else "float16")
    options: dict[str, Any] = {"torch_dtype": getattr(torch, dtype)}
    if location.kind is Kind.FILE:
        pipe, folder = _from_file(location, options), None
    else:
        folder = location.path or _hub_folder(location, allow_pickle)
        pipe = _from_folder(location, folder, options, allow_pickle)
    if not inpainting and pipe.unet.config.in_channels != pipe.vae.config.latent_channels:
        raise UserError(f"model {location.given!r} is made for inpainting: this needs a text-to-image model")
    lora_hashes, notes = loras.add(pipe, settings.loras, allow_pickle)
    try:
        pipe.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    pipe.set_progress_bar_config(disable=True)
    others = () if folder is None else exported_hash(folder)
    source = Source(location.name, model_hash(location, folder), lora_hashes, other_hashes=others)
    return Model(pipe, source, pipe.scheduler.config, notes, folder)


def load_tokenizer(given: str, allow_pickle: bool = False) -> Any:
    """The (first) tokenizer of a model, and nothing else of it. Raises UserError."""
    location = locate(given, allow_pickle)
    if location.kind is Kind.FILE and location.settings is None:
        raise UserError(f"{given!r} is a single file, which holds no tokenizer: give --model a folder or a hub id")
    with _importing():
        _hush_transformers()
        from transformers import CLIPTokenizer

    folder = location.settings or location.path or _hub_folder(location, allow_pickle, only="tokenizer/*")
    with _reading(location):
        return CLIPTokenizer.from_pretrained(folder / "tokenizer")


def _from_folder(location: Location, folder: Path, options: dict[str, Any], allow_pickle: bool) -> Any:
    named = pipeline_class(folder / INDEX)
    family = "StableDiffusionXL" if named.startswith("StableDiffusionXL") else "StableDiffusion"
    if not named.startswith(family) or named.startswith("StableDiffusion3"):
        raise UserError(f"model {location.given!r} is a {named}: it should be a Stable Diffusion 1, 2 or XL pipeline")
    weights = folder / "unet"
    if not any(weights.glob("*.safetensors")):
        for pickle in weights.glob("*.bin"):
            refuse_pickle(pickle, allow_pickle)
    if any(weights.glob("*.fp16.*")) and not (weights / "diffusion_pytorch_model.safetensors").exists():
        options = {**options, "variant": "fp16"}
    if family == "StableDiffusion":
        options = {**options, "safety_checker": None, "requires_safety_checker": False}
    with _reading(location):
        return _pipeline(family).from_pretrained(
            folder, local_files_only=True, use_safetensors=None if allow_pickle else True, **options
        )


def _from_file(location: Location, options: dict[str, Any]) -> Any:
    from huggingface_hub.utils import LocalEntryNotFoundError, OfflineModeIsEnabled

    assert location.path is not None
    family = "StableDiffusion" if location.path.suffix != ".safetensors" else _file_family(location)
    if location.settings:
        options = {**options, "config": str(location.settings), "local_files_only": True}
    try:
        with _reading(location, LocalEntryNotFoundError, OfflineModeIsEnabled):
            return _pipeline(family).from_single_file(str(location.path), **options)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise UserError(
            f"the file {location.given!r} holds weights only; its configuration and tokenizer come from the hub, which "
            "cannot be reached: connect once, lay the configuration in diffusers layout beside the file as a folder "
            f"named {location.path.stem!r}, or give --model a folder in diffusers layout"
        ) from None


def _file_family(location: Location) -> str:
    from safetensors import safe_open

    with _reading(location), safe_open(str(location.path), framework="pt") as file:
        keys = set(file.keys())
    for key, family in _FILE_FAMILIES.items():
        if key in keys:
            return family
    if any("lora" in key for key in keys):
        raise UserError(f"the file {location.given!r} is a LoRA: give it with --lora, beside a --model")
    raise UserError(f"the file {location.given!r} is not a checkpoint of Stable Diffusion 1, 2 or XL")


def _hub_folder(location: Location, allow_pickle: bool, only: str | None = None) -> Path:
    """The hub model's folder in the cache, brought up to date if the hub can be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError

    wanted = [only] if only else ["*.json", "*.txt", "*.safetensors", *(["*.bin"] if allow_pickle else [])]
    try:
        # This question is asked once and without retries: without a network the answer comes at once.
        files = HfApi().model_info(location.given, timeout=_HUB_TIMEOUT).siblings or []
        if INDEX not in {file.rfilename for file in files}:
            raise UserError(f"the hub's {location.given!r} is not in diffusers layout: it has no {INDEX}")
        unwanted = ["*/*/*", *_doubles(files)]
        return Path(snapshot_download(location.given, allow_patterns=wanted, ignore_patterns=unwanted))
    except UserError:
        raise
    except RepositoryNotFoundError:
        raise UserError(f"the hub has no public model {location.given!r}") from None
    except HfHubHTTPError as error:
        raise UserError(f"the hub did not give out {location.given!r}: {str(error).splitlines()[0]}") from None
    # Without a network each release of the hub's client raises another HTTP library's errors.
    except Exception as error:
        reason = type(error).__name__
    try:
        return Path(snapshot_download(location.given, allow_patterns=wanted, local_files_only=True))
    except OSError:
        raise UserError(
            f"model {location.given!r} is neither an embedded name, a path, nor in the hub's cache, and the hub cannot "
            f"be reached ({reason})"
        ) from None


def _doubles(files: Any) -> list[str]:
    """The fp16 copies in a repository that has the weights in full as well, and single-file copies at its root."""
    names = {file.rfilename for file in files}
    copies = [name for name in names if ".fp16." in name and name.replace(".fp16.", ".") in names]
    return copies + [name for name in names if "/" not in name and name.endswith((".safetensors", ".bin", ".ckpt"))]


def _fastest_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def _reading(location: Location, *passing: type[Exception]) -> Iterator[None]:
    """Turns what the libraries raise about a broken model into a sentence; `passing` are left to the caller."""
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            # diffusers renames torch_dtype to dtype; the old name is the one that all supported releases know.
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
        ImportError,
        SafetensorError,
    ) as error:
        if isinstance(error, passing):
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, OSError) and error.strerror and error.filename:
            first = f"{error.filename}: {error.strerror}"
        raise UserError(f"cannot load model {location.given!r}: {first}") from None


def _pipeline(family: str) -> Any:
    with _importing():
        import diffusers

        return getattr(diffusers, _PIPELINES[family])


@contextmanager
def _importing() -> Iterator[None]:
    """Imports make objects that stay; looking for garbage among them again and again is a fifth of the whole start."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with held_interrupts():
            yield
    finally:
        if collecting:
            gc.enable()


def _hush_transformers() -> None:
    """The library's own notes and bars, which would run into ours."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()


def _hush_diffusers() -> None:
    import diffusers

    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
