"""`ebca tokens`: the words of a prompt, their rows in the context, and what each boost hits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib_ebca.studio.recipe import EMBEDDED_DEFAULT
from lib_ebca.studio.values import readable

from .options import (
    AllowPickleOption,
    BcuOption,
    BoostOption,
    EditOption,
    ExciteOption,
    JsonOption,
    ModelOption,
    plan_from_options,
)
from .terminal import say_json, shown

if TYPE_CHECKING:
    from lib_ebca.language.plan import Boost, Plan


@dataclass(frozen=True)
class Word:
    """A word of the prompt: its rows of the context, their tokens, emphasis, chunk (from 1) and boost factor."""

    word: str
    rows: tuple[int, ...]
    tokens: tuple[str, ...]
    weight: float
    chunk: int
    boost: float


def tokens(
    prompt: Annotated[str, typer.Argument(help="A prompt, with its directives if you like.")],
    bcu: BcuOption = None,
    edit: EditOption = None,
    boost: BoostOption = None,
    excite: ExciteOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Show how a prompt is cut into words and rows, and what each boost hits."""
    from lib_ebca.language.directives import parse
    from lib_ebca.language.subject_words import subject_words
    from lib_ebca.language.words import tokenise
    from lib_ebca.studio.loading import load_tokenizer

    parsed = parse(readable("the prompt", prompt))
    plan = parsed.plan.merged(plan_from_options(bcu, edit, boost, excites=excite))
    tokenizer = load_tokenizer(model or EMBEDDED_DEFAULT, allow_pickle)
    words = listed_words(tokenizer, parsed.text, plan)
    hits = {_named(each): _hit(tokenizer, parsed.text, each) for each in plan.boosts}
    subjects = subject_words(tokenise(tokenizer, parsed.text), plan.excite, tokenizer)
    if as_json:
        data = {
            "text": parsed.text,
            "plan": plan.to_dict(),
            "words": [asdict(word) for word in words],
            "boosts": [{"boost": name, "rows": rows} for name, rows in hits.items()],
            "subjects": [{"subject": each.name, "rows": each.rows} for each in subjects],
        }
        say_json(data)
        return
    _print(words, plan, hits, {each.name: each.rows for each in subjects})


def listed_words(tokenizer: Any, text: str, plan: Plan) -> list[Word]:
    """The words of a prompt without directives. Raises WordError for a boost of a word that it does not hold."""
    from lib_ebca.language.words import boost_weights, tokenise
    from lib_ebca.language.words import words as spelled

    tokenised = tokenise(tokenizer, text)
    factors = boost_weights(tokenised, plan.boosts, tokenizer)
    chunk_length = len(tokenised.chunks[0])
    listed = []
    for number, word in enumerate(spelled(tokenised, tokenizer)):
        rows = tuple(row for row, token in enumerate(tokenised.tokens) if token.word == number)
        own = [tokenised.tokens[row] for row in rows]
        chunk = rows[0] // chunk_length + 1
        listed.append(Word(word, rows, tuple(token.text for token in own), own[0].weight, chunk, factors[rows[0]]))
    return listed


def _hit(tokenizer: Any, text: str, boost: Boost) -> tuple[int, ...]:
    from lib_ebca.language.words import rows, tokenise

    return rows(tokenise(tokenizer, text), boost.word, boost.occurrence, tokenizer)


def _named(boost: Boost) -> str:
    occurrence = "" if boost.occurrence is None else f"#{boost.occurrence}"
    return f"{boost.word}{occurrence} x {boost.factor:g}"


def _print(
    words: list[Word], plan: Plan, hits: dict[str, tuple[int, ...]], subjects: dict[str, tuple[int, ...]]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lib_ebca.language.directives import write

    table = Table("word", "rows", "tokens", "emphasis", "chunk", "boost")
    for word in words:
        # What a prompt holds is shown as it is: to rich, square brackets would be markup.
        cells = (
            word.word,
            ", ".join(map(str, word.rows)),
            " ".join(word.tokens),
            f"{word.weight:g}",
            str(word.chunk),
            "" if word.boost == 1 else f"x {word.boost:g}",
        )
        table.add_row(*(Text(shown(cell)) for cell in cells))
    console = Console()
    console.print(table)
    for name, rows in hits.items():
        console.print(Text(shown(f"boost {name}: rows {', '.join(map(str, rows))}")))
    for name, rows in subjects.items():
        console.print(Text(shown(f"subject {name}: rows {', '.join(map(str, rows))}")))
    written = write(plan)
    if written:
        console.print(Text(shown(f"plan: {written}")))
