"""Votes of a diffusers UNet's heads for concepts, counted while a pipeline draws; the pictures come out as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from lib_ebca.hosts.prompts import PromptEncoder
from lib_ebca.hosts.run import HostError
from lib_ebca.hosts.unet import announced, cross_attention_layers
from lib_ebca.methods.head_relevance import PADDING, START, similarity, votes


@dataclass(frozen=True, eq=False)
class EncodedWords:
    """The words of all concepts as the text encoder gives them, one below the other.

    Attributes:
        rows: (W, D), for each word its start-of-text row and its own rows.
        spans: for each concept, for each of its words, where its rows stand: the start, then one behind the last.
    """

    rows: Tensor
    spans: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, pipe: Any, words: Mapping[str, Sequence[str]]) -> EncodedWords:
        """Each word encoded as a prompt of its own.

        Raises:
            HostError: a word has no token, or more than a prompt can hold.
        """
        encoder, rows, spans, first = PromptEncoder(pipe), [], [], 0
        for concept, listed in words.items():
            own = []
            for word in listed:
                encoded = encoder.encode(word)
                length = encoded.tokenised.lengths[0]
                if not length or len(encoded.tokenised.lengths) > 1:
                    raise HostError(f"the word {word!r} of the concept {concept!r} should have 1 to 75 tokens")
                rows.append(encoded.context[: length + 1])
                own.append((first, first + length + 1))
                first += length + 1
            spans.append(tuple(own))
        return cls(torch.cat(rows), tuple(spans))

    def drawn(self, choice: Sequence[int]) -> tuple[list[int], list[int]]:
        """One word of each concept, set one behind the other: rows, and the concept that each belongs to.

        The start of the text comes from the first concept's word.
        """
        begin = self.spans[0][choice[0]][0]
        taken, owner = [begin], [START]
        for concept, word in enumerate(choice):
            first, last = self.spans[concept][word]
            taken += range(first + 1, last)
            owner += [concept] * (last - first - 1)
        return taken, owner


class VoteCounter:
    """Counts the votes of every head at every evaluation.

    Which words stand for the concepts is drawn for each prompt, evaluation and layer from the seed and the prompt's
    number alone, so that batches and shards of any size add up to the same counts (but for ties that rounding breaks).

    Args:
        words: those of the concepts.
        heads: the number of heads of each layer.
        seed: of the draws.
    """

    def __init__(self, words: EncodedWords, heads: Sequence[int], seed: int) -> None:
        self._words, self._heads, self._seed = words, tuple(heads), seed
        self._numbers: Sequence[int] = ()
        self._evaluation = -1
        self._counted: list[Tensor] = []
        self._keys: dict[int, Tensor] = {}
        self._draws: list[torch.Generator] = []

    def begin(self, numbers: Sequence[int]) -> None:
        """The prompts of the pipeline's next call, by their numbers in the whole list."""
        self._numbers, self._evaluation = tuple(numbers), -1
        # Neighbouring numbers must not make neighbouring seeds of two runs the same.
        self._draws = [torch.Generator().manual_seed(self._seed * 1_000_003 + number) for number in numbers]

    def evaluate(self) -> None:
        """The UNet is about to run."""
        self._evaluation += 1
        if self._evaluation == len(self._counted):
            self._counted.append(torch.zeros(len(self._words.spans), sum(self._heads), dtype=torch.int32))

    def see(self, index: int, layer: Attention, hidden_states: Tensor) -> None:
        """A layer is about to read the prompt: its heads vote."""
        count = len(self._numbers)
        pixels = hidden_states[-count:]
        query = layer.to_q(pixels).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        if index not in self._keys:
            self._keys[index] = layer.to_k(self._words.rows.to(query))
        drawn = [self._words.drawn(self._choice(draw)) for draw in self._draws]
        longest = max(len(taken) for taken, _ in drawn)
        rows = torch.tensor([taken + [0] * (longest - len(taken)) for taken, _ in drawn], device=query.device)
        owner = torch.tensor([own + [PADDING] * (longest - len(own)) for _, own in drawn], device=query.device)
        key = self._keys[index][rows].unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        cast = votes(similarity(query, key, owner, len(self._words.spans), layer.scale)).sum(0)
        first = sum(self._heads[:index])
        self._counted[self._evaluation][:, first : first + layer.heads] += cast.T.cpu().to(torch.int32)

    def _choice(self, draw: torch.Generator) -> list[int]:
        numbers = torch.rand(len(self._words.spans), generator=draw, dtype=torch.float64).tolist()
        return [int(number * len(own)) for number, own in zip(numbers, self._words.spans, strict=True)]

    @property
    def counts(self) -> Tensor:
        """(S, C, H), the votes so far at each evaluation of a pass."""
        return torch.stack(self._counted)


@contextmanager
def counting(pipe: Any, words: EncodedWords, seed: int) -> Iterator[VoteCounter]:
    """Let the heads vote during the pipeline's calls inside the block; call ``begin`` before each of them.

    Args:
        pipe: a diffusers pipeline of SD 1, SD 2 or SDXL with guidance on, or off.
        words: encoded by this pipeline.
        seed: of the draws of words.
    """
    layers = cross_attention_layers(pipe.unet)
    counter = VoteCounter(words, [layer.heads for _, layer in layers], seed)
    with ExitStack() as stack:
        stack.enter_context(announced(pipe.unet, lambda args, keywords: counter.evaluate()))
        for index, (_, layer) in enumerate(layers):
            hook = layer.register_forward_pre_hook(_voting(counter, index), with_kwargs=True)
            stack.callback(hook.remove)
        yield counter


def _voting(counter: VoteCounter, index: int) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], None]:
    def vote(layer: Attention, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        counter.see(index, layer, args[0] if args else keywords["hidden_states"])

    return vote
