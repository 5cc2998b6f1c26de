"""What the page asks: the words of a prompt, the faults of its directives, a word boosted or not, hints and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fastapi import Body, Response
from modules import extra_networks, sd_models

from lib_ebca.language import words
from lib_ebca.language.concept import Concept
from lib_ebca.language.directives import DirectiveError, parse, write
from lib_ebca.language.plan import Boost, Excite, Plan
from lib_ebca.webui import hints, settings, tokens
from lib_ebca.webui.encode import subprompts
from lib_ebca.webui.lifecycle import content_words

_STEPS = 20  # the first stage of a scheduled prompt is the same for any number
_MOST_FAULTS = 20
_PASSES: tuple[tuple[int, ...], ...] = ((), (_STEPS,))


def add(_: Any, app: Any) -> None:
    """Answer the page's questions (the host's callback when its server starts)."""

    def check(prompt: str = Body(..., embed=True)) -> dict[str, Any]:
        return checked(prompt)

    def boost(prompt: str = Body(...), word: str = Body(...)) -> dict[str, Any]:
        return {"prompt": boosted(prompt, word)}

    def told() -> dict[str, str]:
        return hints.hints()

    def documentation(name: str) -> Any:
        text = hints.page(name)
        missing = f"There is no page {name}." if text is None else text
        return Response(missing, 404 if text is None else 200, media_type="text/plain; charset=utf-8")

    # The host's server reads the types of these, and the annotations here are text.
    check.__annotations__ = {"prompt": str}
    boost.__annotations__ = {"prompt": str, "word": str}
    told.__annotations__ = {}
    documentation.__annotations__ = {"name": str}
    app.add_api_route("/ebca/check", check, methods=["POST"])
    app.add_api_route("/ebca/boost", boost, methods=["POST"])
    app.add_api_route("/ebca/hints", told, methods=["GET"])
    app.add_api_route("/ebca/docs/{name}", documentation, methods=["GET"])


def checked(prompt: str) -> dict[str, Any]:
    """``errors`` (message, start, end), ``words``: name, text, boost (or None) and excite of each chip, and ``xl``.

    ``xl`` is whether the loaded model is an SDXL. Chips are for a prompt without faults.
    """
    faults = sorted(_unread(prompt), key=lambda fault: int(fault["start"]))
    encoder = _encoder()
    xl = bool(getattr(sd_models.model_data.sd_model, "is_sdxl", False))
    if faults or encoder is None:
        return {"errors": faults, "words": [], "xl": xl}
    parsed = parse(prompt)
    faults = [_fault(str(error)) for error in _not_in(encoder, parsed.text, parsed.plan)]
    return {"errors": faults, "words": [] if faults else _chips(encoder, parsed.text, parsed.plan), "xl": xl}


def _unread(prompt: str) -> Iterator[dict[str, Any]]:
    """What cannot be read in a prompt: a directive that was told is left out for the next one to be found.

    Each costs another reading of all that is before it, so that no more are told than are looked at.
    """
    for _ in range(_MOST_FAULTS):
        try:
            parse(prompt)
        except DirectiveError as error:
            yield _fault(str(error), error.start, error.end)
            blank = " " * (error.end - error.start)
            if not blank or prompt[error.start : error.end] == blank:
                return
            prompt = prompt[: error.start] + blank + prompt[error.end :]
        else:
            return


def _fault(message: str, start: int = 0, end: int = 0) -> dict[str, Any]:
    return {"message": message, "start": start, "end": end}


def _not_in(encoder: Any, text: str, plan: Plan) -> Iterator[words.WordError]:
    """An error for each word that a directive names and the prompt does not hold."""
    text, _ = extra_networks.parse_prompt(text)
    first, second = ([stage for stages in subprompts(text, _STEPS, *more) for _, stage in stages] for more in _PASSES)
    named_by: tuple[Boost | Concept | Excite, ...] = (*plan.boosts, *plan.concepts, *plan.excite)
    named = [(each.word, each.occurrence) for each in named_by]
    for word, occurrence in dict.fromkeys(named):
        try:
            tokens.boost_weights(encoder, first, (Boost(word, 1.0, occurrence),), second)
        except words.WordError as error:
            yield error


def boosted(prompt: str, word: str) -> str:
    """``prompt`` with ``word`` one further: plain, boosted, a subject, and plain again. Raises DirectiveError."""
    parsed = parse(prompt)
    wanted, subject = Boost(word, settings.chip_factor()), Excite(word)
    boosts = tuple(each for each in parsed.plan.boosts if replace(each, factor=wanted.factor) != wanted)
    excites = tuple(each for each in parsed.plan.excite if (each.word, each.occurrence) != _named(subject))
    if len(boosts) < len(parsed.plan.boosts):
        excites = (*excites, subject)
    elif len(excites) == len(parsed.plan.excite):
        boosts = (*boosts, wanted)
    directives = write(replace(parsed.plan, update=parsed.plan.stated_update, boosts=boosts, excite=excites))
    return " ".join(filter(None, (parsed.text, directives)))


def _named(excite: Excite) -> tuple[str, int | None]:
    return excite.word, excite.occurrence


def _encoder() -> Any | None:
    # Asking for shared.sd_model would load a model.
    model = sd_models.model_data.sd_model
    return None if model is None else tokens.text_encoder(model)


def _chips(encoder: Any, text: str, plan: Plan) -> list[dict[str, Any]]:
    text, _ = extra_networks.parse_prompt(text)
    staged = [[stage for _, stage in stages] for stages in subprompts(text, _STEPS)]
    # Whether there will be a second pass is not known yet: its stages count for what a boost may name.
    second = [stage for stages in subprompts(text, _STEPS, _STEPS) for _, stage in stages]
    stages = [stage for stages in staged for stage in stages]
    factors = iter(tokens.boost_weights(encoder, stages, plan.boosts, second))
    weighted = [[(stage, next(factors)) for stage in stages] for stages in staged]
    found = [
        (word, weights[rows[0]]) for (stage, weights), *_ in weighted for word, rows in content_words(encoder, stage)
    ]
    several = Counter(word for word, _ in found)
    seen: Counter[str] = Counter()
    chips = []
    for word, factor in found:
        seen[word] += 1
        name = f"{word}#{seen[word]}" if several[word] > 1 else word
        excited = any(_named(each) in ((word, None), _named(Excite(name))) for each in plan.excite)
        chips.append({"name": name, "text": word, "boost": None if factor == 1.0 else factor, "excite": excited})
    return chips
