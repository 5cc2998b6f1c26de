"""Concepts of plans to factors, and the vectors that they are looked up in."""

from __future__ import annotations

import pytest
import torch

from lib_ebca.attention.concepts import concept_factors, token_factors, vectors_for
from lib_ebca.language.concept import Concept
from lib_ebca.language.directives import parse
from lib_ebca.language.plan import Plan
from lib_ebca.language.words import WordError, tokenise
from lib_ebca.methods.head_order import SD1, SDXL
from lib_ebca.methods.head_vectors import HeadVectors, UnknownConceptError, VectorsError, published
from tests import tiny_text

ANIMALS, COLOUR = (("Animals", 1.0),), (("Color", 1.0),)
VECTORS = HeadVectors(("Animals", "Color"), torch.tensor([[2.0, 0.5, 12.0], [1.0, 3.0, 0.0]]), (2, 1), "made up")


def test_vectors_are_the_given_ones_or_the_published() -> None:
    plans = [Plan(), parse("a red cat <concept:red:color=2:animals=-1>").plan]
    assert vectors_for(plans, (2, 1), VECTORS) is VECTORS
    assert vectors_for(plans, SD1, None) is published(SD1)
    assert vectors_for([Plan()], (4, 4), None) is None


def test_vectors_that_do_not_fit_are_refused_before_anything_is_drawn() -> None:
    plans = [parse("a red cat <concept:red:Color>").plan, Plan()]
    with pytest.raises(VectorsError, match="2 layers with 3 heads, and this model has 1 layers with 4"):
        vectors_for(plans, (4,), VECTORS)
    with pytest.raises(VectorsError, match="no head relevance vectors are published"):
        vectors_for(plans, (4,), None)
    with pytest.raises(UnknownConceptError, match="there is no concept 'Plants'"):
        vectors_for([parse("a red cat <concept:red:Plants>").plan], (2, 1), VECTORS)


def test_each_concept_becomes_factors_on_the_tokens_of_its_word() -> None:
    tokenizer = tiny_text.tokenizer()
    tokenised, other = tokenise(tokenizer, "a cat dog cat"), tokenise(tokenizer, "dog")
    concepts = (Concept("cat", ANIMALS), Concept("dog", (("color", 2), ("animals", -1))), Concept("cat#2", COLOUR))
    cats, dog, second = concept_factors(concepts, VECTORS, tokenised, tokenizer)
    assert (cats.tokens, dog.tokens, second.tokens) == ((2, 4), (3,), (4,))
    assert [each.tolist() for each in cats.heads] == [[2.0, 0.5], [12.0]]
    assert [each.tolist() for each in dog.heads] == [[0.0, 5.5], [-12.0]]
    assert [each.tolist() for each in second.heads] == [[1.0, 3.0], [0.0]]
    # Another encoder's prompt is read into the same rows, and may lack the word.
    cats, dog, _ = concept_factors(concepts, VECTORS, tokenised, tokenizer, other)
    assert (cats.tokens, dog.tokens) == ((2, 4), (1, 3))
    with pytest.raises(WordError):
        concept_factors(concepts, VECTORS, other, tokenizer)


def test_relevances_count_between_floor_and_clamp() -> None:
    held = token_factors(Concept("cat", ANIMALS, clamp=9.0, floor=1.0), VECTORS, (2,))
    assert [each.tolist() for each in held.heads] == [[2.0, 1.0], [9.0]]
    none = token_factors(Concept("cat", ANIMALS), VECTORS, (2,))
    assert [each.tolist() for each in none.heads] == [[2.0, 0.5], [12.0]]


def test_sdxls_clamp_holds_unless_another_is_asked_for() -> None:
    vectors, largest = published(SDXL), {}
    for clamp in (None, 20.0):
        factors = token_factors(Concept("cat", COLOUR, clamp=clamp), vectors, (1,))
        largest[clamp] = max(float(each.max()) for each in factors.heads)
    assert largest == {None: 9.0, 20.0: 20.0}
