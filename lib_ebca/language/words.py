"""Words of a prompt and the rows of the context that they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lib_ebca.language import emphasis
from lib_ebca.language.checks import meant, shortened
from lib_ebca.language.plan import Boost

COMMA_REACH = 20
_CLIP_LENGTH = 77
_LONGEST_SANE_LENGTH = 1024  # tokenizers without a length of their own say 10^30
_END_OF_WORD = "</w>"
_LITTLE_WORDS = frozenset(
    """a an the and or nor but so yet as than that this these those if while of in on at by for from to into onto upon
    with without within over under above below behind beside between among near next off out up down through across
    against along around about after before during is are was were be been being it its s t re ve m ll d""".split()  # noqa: SIM905 (a literal would take seventy lines)
)


class WordError(ValueError):
    """A word is not in the prompt. `word` is what was looked for, `words` what the prompt has."""

    def __init__(self, word: str, words: Sequence[str], problem: str) -> None:
        self.word = word
        self.words = tuple(words)
        self.problem = problem
        listed = shortened(", ".join(self.words), 400) if self.words else "none"
        nearest = meant(word, self.words)
        super().__init__(f'"{shortened(word)}" {problem}{nearest}; the words of the prompt are: {listed}')

    def __reduce__(self) -> tuple[type[WordError], tuple[str, tuple[str, ...], str]]:
        return WordError, (self.word, self.words, self.problem)


@dataclass(frozen=True)
class Token:
    """One row of the context. `word` is the running number of its word, None for begin, end and padding."""

    id: int
    text: str
    weight: float
    word: int | None


@dataclass(frozen=True)
class TokenisedPrompt:
    """A prompt as the text encoder reads it, in chunks of equal length (77 for CLIP), one after the other.

    `lengths` says how many tokens of the prompt each chunk holds, begin and end not counted.
    """

    text: str
    tokens: tuple[Token, ...]
    lengths: tuple[int, ...]

    @property
    def chunks(self) -> tuple[tuple[Token, ...], ...]:
        """The tokens of each chunk."""
        size = len(self.tokens) // len(self.lengths)
        return tuple(self.tokens[i : i + size] for i in range(0, len(self.tokens), size))


def tokenise(tokenizer: Any, prompt: str, literal: bool = False) -> TokenisedPrompt:
    """Tokens of `prompt`, weighted and chunked as the WebUI does it.

    `literal` is diffusers' own way: brackets are letters like others, and what a chunk does not take is cut off.
    Otherwise a chunk takes 75 tokens. BREAK ends one. Where a chunk fills up, what follows its last comma moves on to
    the next one, if that is at most 20 tokens. A textual inversion of several vectors becomes as many tokens of one
    word.
    """
    size = _chunk_size(tokenizer)
    begin, end, pad = (
        Token(id_, tokenizer.convert_ids_to_tokens(id_), 1.0, None)
        for id_ in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    )
    if literal:
        chunks = [[token for token in _stream(tokenizer, prompt, literal) if token is not None][: size - 2]]
    else:
        chunks = _chunked(_stream(tokenizer, prompt), size - 2, _comma(tokenizer))
    padded = [[begin, *chunk, end, *[pad] * (size - 2 - len(chunk))] for chunk in chunks]
    tokens = tuple(token for chunk in padded for token in chunk)
    return TokenisedPrompt(prompt, tokens, tuple(len(chunk) for chunk in chunks))


def words(tokenised: TokenisedPrompt, tokenizer: Any) -> tuple[str, ...]:
    """The words in the order of their running numbers, as the tokenizer spells them."""
    return tuple(_spelled(tokenizer, [token.id for _, token in group]) for group in _grouped(tokenised))


def rows(tokenised: TokenisedPrompt, boost_word: str, occurrence: int | None, tokenizer: Any) -> tuple[int, ...]:
    """Rows of the context that are `boost_word`, a word or phrase, whatever its case; "*" is every content word.

    Only whole words count: "cat" is not in "cats". `occurrence` counts from 1; None means every one. Emphasis and the
    ends of chunks may fall within a phrase. Raises WordError, which lists the words of the prompt.
    """
    return tuple(row for found in spans(tokenised, boost_word, occurrence, tokenizer) for row in found)


def spans(tokenised: TokenisedPrompt, word: str, occurrence: int | None, tokenizer: Any) -> list[tuple[int, ...]]:
    """As :func:`rows`, but each occurrence by itself; for "*" each content word."""
    groups = _grouped(tokenised)
    spelled = words(tokenised, tokenizer)
    if word == "*":
        found = [group for group, spelling in zip(groups, spelled, strict=True) if has_content(spelling)]
        if not found:
            raise WordError(word, spelled, "finds no content word in the prompt")
        return [tuple(row for row, _ in group) for group in found]
    phrase = [[token.id for token in group] for group in _words_of_ids(tokenizer, word, 1.0)]
    if not phrase:
        raise WordError(word, spelled, "has no word that the tokenizer knows")
    matches = list(_matches([[token.id for _, token in group] for group in groups], phrase))
    if not matches:
        raise WordError(word, spelled, "is not in the prompt")
    if occurrence is not None and not 1 <= occurrence <= len(matches):
        times = "once" if len(matches) == 1 else f"{len(matches)} times"
        raise WordError(f"{word}#{occurrence}", spelled, f"is not in the prompt: {word} is there {times}")
    chosen = matches if occurrence is None else [matches[occurrence - 1]]
    return [tuple(row for group in groups[first : first + len(phrase)] for row, _ in group) for first in chosen]


def rows_in_any(
    prompts: Sequence[TokenisedPrompt], word: str, occurrence: int | None, tokenizer: Any
) -> tuple[int, ...]:
    """As :func:`rows`, of several prompts that encoders read side by side into the same rows; one has to hold it."""
    found: set[int] = set()
    errors: list[WordError] = []
    for prompt in prompts:
        try:
            found.update(rows(prompt, word, occurrence, tokenizer))
        except WordError as error:
            errors.append(error)
    if len(errors) == len(prompts):
        raise errors[0]
    return tuple(sorted(found))


def boost_weights(
    tokenised: TokenisedPrompt, boosts: Iterable[Boost], tokenizer: Any, second: TokenisedPrompt | None = None
) -> tuple[float, ...]:
    """One factor for each row of the context, 1 where nothing is boosted. Boosts of the same row multiply.

    `second` is what another encoder reads into the same rows, if it reads another prompt. Raises WordError.
    """
    prompts = [tokenised] if second is None else [tokenised, second]
    weights = [1.0] * max(len(each.tokens) for each in prompts)
    for boost in boosts:
        for row in rows_in_any(prompts, boost.word, boost.occurrence, tokenizer):
            weights[row] *= boost.factor
    return tuple(weights)


def _chunk_size(tokenizer: Any) -> int:
    size = int(tokenizer.model_max_length)
    return size if size <= _LONGEST_SANE_LENGTH else _CLIP_LENGTH


def _comma(tokenizer: Any) -> int | None:
    comma = f",{_END_OF_WORD}"
    id_ = tokenizer.convert_tokens_to_ids(comma)
    return id_ if tokenizer.convert_ids_to_tokens(id_) == comma else None


def _stream(tokenizer: Any, prompt: str, literal: bool = False) -> Iterator[Token | None]:
    """The prompt's tokens; None where a BREAK stands."""
    count = 0
    for text, weight in [(prompt, 1.0)] if literal else emphasis.parse(prompt):
        if (text, weight) == emphasis.BREAK:
            yield None
            continue
        for group in _words_of_ids(tokenizer, text, weight):
            for token in group:
                yield Token(token.id, token.text, weight, None if token.word is None else count)
            count += group[0].word is not None


def _words_of_ids(tokenizer: Any, text: str, weight: float) -> Iterator[list[Token]]:
    """The tokens of `text` word by word; `word` is 0 for all but the special tokens, which are no words."""
    special = set(tokenizer.all_special_ids)
    added = tokenizer.get_added_vocab()
    # The prompt is cut into chunks later, so its length is no cause for the tokenizer to warn.
    ids = tokenizer(text, truncation=False, add_special_tokens=False, verbose=False)["input_ids"]
    word: list[Token] = []
    for id_, spelling in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        whole = spelling in added
        if whole and word:
            yield word
            word = []
        word.append(Token(id_, spelling, weight, None if whole and id_ in special else 0))
        if whole:
            word.extend(Token(added[name], name, weight, 0) for name in _further_vectors(spelling, added))
        if whole or spelling.endswith(_END_OF_WORD):
            yield word
            word = []
    if word:
        yield word


def _further_vectors(name: str, added: dict[str, int]) -> Iterator[str]:
    """diffusers spreads an inversion `name` of several vectors over the tokens name, name_1, name_2, ..."""
    number = 1
    while (further := f"{name}_{number}") in added:
        yield further
        number += 1


def _chunked(stream: Iterable[Token | None], length: int, comma: int | None) -> list[list[Token]]:
    chunks: list[list[Token]] = []
    chunk: list[Token] = []
    last_comma: int | None = None
    for token in stream:
        if token is None:
            chunks.append(chunk)
            chunk, last_comma = [], None
            continue
        moved: list[Token] = []
        if len(chunk) == length:
            if token.id != comma and last_comma is not None and length - last_comma <= COMMA_REACH:
                chunk, moved = chunk[: last_comma + 1], chunk[last_comma + 1 :]
            chunks.append(chunk)
            chunk, last_comma = moved, None
        elif token.id == comma:
            last_comma = len(chunk)
        chunk.append(token)
    return [*chunks, chunk] if chunk or not chunks else chunks


def _grouped(tokenised: TokenisedPrompt) -> list[list[tuple[int, Token]]]:
    groups: list[list[tuple[int, Token]]] = []
    for row, token in enumerate(tokenised.tokens):
        if token.word is None:
            continue
        if token.word == len(groups):
            groups.append([])
        groups[token.word].append((row, token))
    return groups


def _matches(prompt: Sequence[list[int]], phrase: Sequence[list[int]]) -> Iterator[int]:
    first = 0
    while first + len(phrase) <= len(prompt):
        if list(prompt[first : first + len(phrase)]) == list(phrase):
            yield first
            first += len(phrase)
        else:
            first += 1


def _spelled(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids)).strip()


def has_content(word: str) -> bool:
    """Whether a word says something by itself, as "cat" does and "of" and "," do not."""
    if word.lower().strip("'") in _LITTLE_WORDS:
        return False
    return any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in word)
