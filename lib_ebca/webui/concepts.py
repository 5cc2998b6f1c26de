"""Concepts in the host: whose vectors, and which rows of the host's own context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib_ebca.attention.concepts import token_factors, vectors_for
from lib_ebca.attention.picture import TokenFactors
from lib_ebca.hosts.ldm import cross_attention_layers
from lib_ebca.language.concept import Concept
from lib_ebca.language.plan import Boost, Plan
from lib_ebca.methods.head_order import SD1
from lib_ebca.methods.head_vectors import HeadVectors, published, read
from lib_ebca.webui import settings, tokens
from lib_ebca.webui.hosting import hosting


def names() -> list[str]:
    """The concepts that the accordion lists: those of the published vectors; others are typed."""
    return list(published(SD1).concepts)


def vectors_of(model: Any, plans: Sequence[Plan]) -> HeadVectors | None:
    """The vectors for a loaded model: those of the file on the settings page, or else the published ones.

    Returns:
        None if no plan has a concept.

    Raises:
        VectorsError: there are none for this model, or they do not know a concept.
    """
    if not any(plan.named_concepts for plan in plans):
        return None
    layers: list[Any] = [layer for _, layer in cross_attention_layers(hosting(model).unet)]
    heads = [int(layer.heads) for layer in layers]
    file = settings.vectors_file()
    return vectors_for(plans, heads, read(Path(file)) if file else None)


def factors_of(
    encoder: Any, texts: Sequence[str], concepts: Sequence[Concept], vectors: HeadVectors, elsewhere: Sequence[str] = ()
) -> list[tuple[TokenFactors, ...]]:
    """For each of ``texts``, the parts and stages of one picture's prompt, a factor for each concept.

    Raises:
        WordError: none of the texts, here or elsewhere, holds the word of a concept.
    """
    rows = [
        tokens.word_rows(encoder, texts, Boost(concept.word, 1.0, concept.occurrence), elsewhere)
        for concept in concepts
    ]
    return [
        tuple(token_factors(concept, vectors, own[text]) for concept, own in zip(concepts, rows, strict=True))
        for text in range(len(texts))
    ]
