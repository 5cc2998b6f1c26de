"""A plan's concepts to factors of the attention to its words, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib_ebca.attention.picture import TokenFactors
from lib_ebca.language.concept import Concept
from lib_ebca.language.plan import Plan
from lib_ebca.language.words import TokenisedPrompt, rows_in_any
from lib_ebca.methods.head_relevance import head_factors
from lib_ebca.methods.head_vectors import HeadVectors, published


def vectors_for(plans: Sequence[Plan], heads: Sequence[int], given: HeadVectors | None) -> HeadVectors | None:
    """The vectors that the plans' concepts are looked up in, before anything is drawn.

    Args:
        plans: all of a batch's.
        heads: the number of heads of each cross-attention layer of the model, in the order of execution.
        given: measured ones; None takes the published ones for SD 1 and SDXL.

    Returns:
        None if no plan has a concept.

    Raises:
        VectorsError: the vectors are of another model's shape, there are none, or a concept is not among them.
    """
    named = [name for plan in plans for name in plan.named_concepts]
    if not named:
        return None
    vectors = published(heads) if given is None else given
    vectors.require(heads)
    for name in named:
        vectors.row(name)
    return vectors


def concept_factors(
    concepts: Sequence[Concept],
    vectors: HeadVectors,
    tokenised: TokenisedPrompt,
    tokenizer: Any,
    second: TokenisedPrompt | None = None,
) -> tuple[TokenFactors, ...]:
    """The factors of one picture, one for each of its plan's concepts; `second` is as for boosts.

    Raises:
        WordError: a word is not in the prompt.
        UnknownConceptError: a concept is not among the vectors.
    """
    prompts = [tokenised] if second is None else [tokenised, second]
    return tuple(
        token_factors(concept, vectors, rows_in_any(prompts, concept.word, concept.occurrence, tokenizer))
        for concept in concepts
    )


def token_factors(concept: Concept, vectors: HeadVectors, tokens: tuple[int, ...]) -> TokenFactors:
    """The factors of one concept on the tokens of its word. Raises UnknownConceptError."""
    weights = {vectors.row(name): weight for name, weight in concept.weights}
    clamp = vectors.clamp if concept.clamp is None else concept.clamp
    factors = head_factors(vectors.relevance, weights, clamp, concept.floor)
    return TokenFactors(tokens, heads=vectors.by_layer(factors))
