"""Measuring head relevance vectors: prompts are drawn, heads vote, and nothing is kept but the counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_ebca.reading import text_in
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.progress import Advance, silent

if TYPE_CHECKING:
    from lib_ebca.methods.head_vectors import HeadVectors
    from lib_ebca.studio.loading import Model

_LARGEST_WORDS, _LARGEST_PROMPTS = 200_000, 10_000_000  # bytes
DIGITS = 16
"""Of a hash, as many as tell two lists apart."""


@dataclass(frozen=True)
class Measuring:
    """What is measured, and how.

    Attributes:
        words: for each concept the words that stand for it.
        prompts: what is drawn meanwhile.
        steps: sampling steps.
        guidance: guidance scale.
        seed: of the draws of words, and, with a prompt's number added, of its noise.
        sampler: by its WebUI name; None is the model's own.
        width: in pixels; None is the model's own.
        height: in pixels; None is the model's own.
    """

    words: Mapping[str, tuple[str, ...]]
    prompts: tuple[str, ...]
    steps: int = 50
    guidance: float = 7.5
    seed: int = 22
    sampler: str | None = None
    width: int | None = None
    height: int | None = None

    def facts(self, model: Model) -> dict[str, Any]:
        """Everything that the counts depend on, in plain types: shards add up only where it is equal."""
        return {
            "model": model.source.model,
            "model_hash": model.source.model_hash,
            "prompts": len(self.prompts),
            "prompts_hash": digest("\n".join(self.prompts)),
            "words": {concept: list(words) for concept, words in self.words.items()},
            "words_hash": digest(json.dumps([(name, list(own)) for name, own in self.words.items()])),
            "steps": self.steps,
            "guidance": self.guidance,
            "seed": self.seed,
            "sampler": self.sampler,
            "width": self.width,
            "height": self.height,
        }


def digest(text: str) -> str:
    """The first digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def batches(
    model: Model, what: Measuring, numbers: Sequence[int], batch_size: int, advance: Advance = silent
) -> Iterator[HeadVectors]:
    """Yield the votes of some of the prompts, a batch at a time; adding them up is the measurement.

    Args:
        model: loaded.
        what: what is measured.
        numbers: which prompts, from 0.
        batch_size: prompts drawn together.
        advance: told of prompts done, of all that are asked for.
    """
    import torch

    from lib_ebca.hosts.head_votes import EncodedWords, counting
    from lib_ebca.hosts.unet import cross_attention_layers
    from lib_ebca.methods.head_vectors import HeadVectors
    from lib_ebca.studio.samplers import default_for, scheduler_for

    pipe = model.pipe
    width, height = what.width or model.size[0], what.height or model.size[1]
    heads = [layer.heads for _, layer in cross_attention_layers(pipe.unet)]
    words = EncodedWords.of(pipe, what.words)
    shape = (pipe.unet.config.in_channels, height // pipe.vae_scale_factor, width // pipe.vae_scale_factor)
    for first in range(0, len(numbers), batch_size):
        together = list(numbers[first : first + batch_size])
        pipe.scheduler = scheduler_for(what.sampler or default_for(pipe), model.scheduler_config)
        noise = torch.stack(
            [torch.randn(shape, generator=torch.Generator().manual_seed(what.seed + number)) for number in together]
        )
        with counting(pipe, words, what.seed) as counter, torch.no_grad():
            counter.begin(together)
            pipe(
                [what.prompts[number] for number in together],
                num_inference_steps=what.steps,
                guidance_scale=what.guidance,
                width=width,
                height=height,
                latents=noise.to(pipe.unet.device, pipe.unet.dtype),
                output_type="latent",
            )
        facts = what.facts(model) | {"done": together}
        yield HeadVectors.counted(tuple(what.words), counter.counts, heads, f"measured on {model.source.model}", facts)
        advance(first + len(together), len(numbers))


def added(parts: Sequence[HeadVectors]) -> HeadVectors:
    """Parts of one measurement, added up.

    Raises:
        UserError: they are of different measurements, or one prompt is in two of them.
    """
    import torch

    from lib_ebca.methods.head_vectors import HeadVectors

    first = parts[0]
    for part in parts:
        if part.counts is None or "done" not in part.measured:
            raise UserError(f"vectors {part.origin!r} hold no votes: only what `ebca heads measure` wrote adds up")
        for name, value in _what(first.measured).items():
            if part.measured.get(name) != value:
                raise UserError(
                    f"the parts are of different measurements: {name} is {value!r} in one and "
                    f"{part.measured.get(name)!r} in another"
                )
    done = [number for part in parts for number in part.measured["done"]]
    twice = sorted({number for number in done if done.count(number) > 1}) if len(set(done)) < len(done) else []
    if twice:
        raise UserError(f"prompt {twice[0] + 1} is in more than one of the parts: each should be counted once")
    counts = torch.stack([part.counts for part in parts if part.counts is not None]).sum(0)
    return HeadVectors.counted(
        first.concepts, counts, first.heads, first.origin, _what(first.measured) | {"done": sorted(done)}
    )


def _what(measured: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in measured.items() if name != "done"}


def remaining(what: Measuring, facts: dict[str, object], numbers: Sequence[int], out: Path) -> list[int]:
    """The prompts whose votes the file `out` does not hold yet. Raises UserError where it holds another measurement."""
    found = before(out)
    if found is None:
        return list(numbers)
    for name, value in facts.items():
        if found.measured.get(name) != value:
            raise UserError(
                f"--out {str(out)!r} holds another measurement, whose {name} is {found.measured.get(name)!r} and "
                f"not {value!r}: give another file"
            )
    done = set(found.measured["done"])
    return [number for number in numbers if number not in done]


def before(out: Path) -> HeadVectors | None:
    """What a file holds of a measurement that is not finished; None if there is no file. Raises UserError."""
    from lib_ebca.methods.head_vectors import read

    if not out.exists():
        return None
    found = read(out)
    if "done" not in found.measured:
        raise UserError(f"--out {str(out)!r} holds vectors that nothing can be added to: give another file")
    return found


def read_words(path: Path) -> dict[str, tuple[str, ...]]:
    """Concepts and their words from a YAML (or JSON) mapping of names to lists.

    Raises:
        UserError: the file cannot be read, or is no such mapping.
    """
    import yaml

    from lib_ebca.studio.yaml12 import Spelt, load

    try:
        data = load(text_in(path, _LARGEST_WORDS))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    expected = "a mapping of at least two concepts, each with a list of words, such as Color: [red, green, blue]"
    if not isinstance(data, Mapping) or len(data) < 2:
        raise UserError(f"{path} should hold {expected}")
    found = {}
    for name, words in data.items():
        spelled = [word.text if isinstance(word, Spelt) else word for word in words] if isinstance(words, list) else []
        if not spelled or not all(isinstance(word, str) and word.strip() for word in spelled):
            raise UserError(
                f"the concept {name!r} of {path} should have a list of words: the file should be {expected}"
            )
        found[str(name).strip()] = tuple(word.strip() for word in spelled)
    return found


def read_prompts(path: Path) -> tuple[str, ...]:
    """The lines of a file that are not empty. Raises UserError."""
    try:
        lines = text_in(path, _LARGEST_PROMPTS).splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise UserError(f"{path} holds no prompts: one should stand on each line")
    return found
