"""The host's own tokens of a prompt, so that a word's rows are the rows the host's encoder gives it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lib_ebca.attention.subjects import Subjects, subjects_of
from lib_ebca.language import words
from lib_ebca.language.excite import Excite
from lib_ebca.language.plan import Boost
from lib_ebca.language.subject_words import subject_words
from lib_ebca.language.words import Token, TokenisedPrompt, WordError
from lib_ebca.methods.head_vectors import HeadVectors


def text_encoder(model: Any) -> Any | None:
    """The host's encoder that reads prompts line by line; of SDXL's two the first. None if the model has none."""
    several = getattr(getattr(model, "conditioner", None), "embedders", ())
    engines = (getattr(model, name, None) for name in ("text_processing_engine", "text_processing_engine_l"))
    for encoder in (*several, getattr(model, "cond_stage_model", None), *engines):
        if hasattr(encoder, "tokenize_line"):
            return encoder
    return None


def tokenizer_of(encoder: Any) -> Any:
    """The encoder's tokenizer, spoken to as transformers' are."""
    tokenizer = getattr(encoder, "tokenizer", None)
    return tokenizer if tokenizer is not None else _OpenClipTokenizer(encoder)


def tokenised(encoder: Any, text: str) -> TokenisedPrompt:
    """``text`` as the host's encoder reads it: its emphasis, chunks and textual inversions."""
    chunks, _ = encoder.tokenize_line(text)
    tokenizer = tokenizer_of(encoder)
    tokens: list[Token] = []
    lengths: list[int] = []
    count = 0
    for chunk in chunks:
        inverted = {fix.offset + 1: fix.embedding for fix in chunk.fixes}
        ids = chunk.tokens
        # The last row is the end token; padding is the same token or the model's own.
        length = 1 + next((i for i, id_ in enumerate(ids[1:]) if id_ == encoder.id_end), len(ids) - 2)
        lengths.append(length - 1)
        inside: tuple[int, str] = (0, "")
        for row, (id_, weight) in enumerate(zip(ids, chunk.multipliers, strict=True)):
            if row in inverted:
                inside = (row + int(inverted[row].vectors), inverted[row].name)
            if not 0 < row < length:
                tokens.append(Token(id_, _spelling(tokenizer, id_), 1.0, None))
            elif row < inside[0]:
                tokens.append(Token(id_, f"{inside[1]}</w>", weight, count))
                count += row + 1 == inside[0]
            else:
                spelling = _spelling(tokenizer, id_)
                tokens.append(Token(id_, spelling, weight, count))
                count += spelling.endswith("</w>")
    return TokenisedPrompt(text, tuple(tokens), tuple(lengths))


def boost_weights(
    encoder: Any, texts: Sequence[str], boosts: Sequence[Boost], elsewhere: Sequence[str] = ()
) -> list[tuple[float, ...]]:
    """One factor for each row of each of ``texts``, which are the parts and stages of one picture's prompt.

    Args:
        encoder: the host's.
        texts: what is encoded.
        boosts: the words and their factors.
        elsewhere: stages of the same prompt that another pass encodes: a word that stands in them alone is no fault.

    Raises:
        WordError: none of the texts, here or elsewhere, holds the word of a boost.
    """
    weights = [[1.0] * len(tokenised(encoder, text).tokens) for text in texts]
    for boost in boosts:
        for rows, factors in zip(word_rows(encoder, texts, boost, elsewhere), weights, strict=True):
            for row in rows:
                factors[row] *= boost.factor
    return [tuple(factors) for factors in weights]


def word_rows(encoder: Any, texts: Sequence[str], boost: Boost, elsewhere: Sequence[str] = ()) -> list[tuple[int, ...]]:
    """The rows of a boost's word in each of ``texts``; none where only another of them has it.

    Raises:
        WordError: none of the texts, here or elsewhere, holds the word.
    """
    tokenizer, found, failures = tokenizer_of(encoder), [], []
    for text in texts:
        try:
            found.append(_rows(tokenised(encoder, text), boost, tokenizer))
        except WordError as error:
            failures.append(error)
            found.append(())
    if len(failures) == len(texts) and not any(_holds(encoder, text, boost) for text in elsewhere):
        raise failures[0]
    return found


def subjects(
    encoder: Any,
    parts: Sequence[Sequence[tuple[int, str]]],
    excites: Sequence[Excite],
    several_encoders: bool,
    vectors: HeadVectors | None = None,
) -> list[Subjects]:
    """The subjects of each stage of each part of one picture's prompt, one after the other.

    A subject may stand in some of the parts that AND divides, but there in every stage: its latent is moved all along.

    Raises:
        WordError: none of the parts holds a subject's word, or a part holds it in some of its stages alone.
    """
    tokenizer = tokenizer_of(encoder)
    padded_with_end = not several_encoders and getattr(encoder, "id_pad", encoder.id_end) == encoder.id_end
    read = [[tokenised(encoder, text) for _, text in stages] for stages in parts]
    kept: list[list[Excite]] = [[] for _ in parts]
    for excite in excites:
        failures: list[WordError] = []
        for own, stages in zip(kept, read, strict=True):
            missing = [error for stage in stages if (error := _missing(stage, excite, tokenizer)) is not None]
            if not missing:
                own.append(excite)
            elif len(missing) < len(stages):
                problem = "stands in some stages of the prompt alone, and a subject has to stand in all of them"
                raise WordError(excite.word, missing[0].words, problem)
            failures += missing[:1]
        if len(failures) == len(parts):
            raise failures[0]
    return [
        subjects_of(own, stage, tokenizer, padded_with_end, vectors)
        for own, stages in zip(kept, read, strict=True)
        for stage in stages
    ]


def _missing(read: TokenisedPrompt, excite: Excite, tokenizer: Any) -> WordError | None:
    try:
        subject_words(read, [excite], tokenizer)
    except WordError as error:
        return error
    return None


def _rows(read: TokenisedPrompt, boost: Boost, tokenizer: Any) -> tuple[int, ...]:
    return _inversion_rows(read, boost) or words.rows(read, boost.word, boost.occurrence, tokenizer)


def _holds(encoder: Any, text: str, boost: Boost) -> bool:
    try:
        return bool(_rows(tokenised(encoder, text), boost, tokenizer_of(encoder)))
    except WordError:
        return False


def _inversion_rows(read: TokenisedPrompt, boost: Boost) -> tuple[int, ...]:
    spelling = f"{boost.word}</w>".lower()
    return tuple(row for row, token in enumerate(read.tokens) if token.id == 0 and token.text.lower() == spelling)


def _spelling(tokenizer: Any, id_: int) -> str:
    return str(tokenizer.convert_ids_to_tokens([id_])[0])


class _OpenClipTokenizer:
    """open_clip's byte-pair tokenizer, with as much of transformers' interface as words need."""

    model_max_length = 77
    all_special_ids: tuple[int, ...] = ()

    def __init__(self, encoder: Any) -> None:
        # The host keeps open_clip's one tokenizer beside its encoder's class.
        self._tokenizer: Any = vars(sys.modules[type(encoder).__module__])["tokenizer"]

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self._tokenizer.encode(text)}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.decoder[id_] for id_ in ids]

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids))
