"""What the page asks while a prompt is written: its words, the faults of its directives, a word boosted or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from fastapi import Body
from modules import extra_networks, sd_models

from lib_ebca.language import words
from lib_ebca.language.directives import DirectiveError, parse, write
from lib_ebca.language.plan import Boost, Excite, Plan
from lib_ebca.webui import settings, tokens
from lib_ebca.webui.encode import subprompts
from lib_ebca.webui.lifecycle import content_words

_STEPS = 20  # the first stage of a scheduled prompt is the same for any number


def add(_: Any, app: Any) -> None:
    """Answer the page's questions (the host's callback when its server starts)."""

    def check(prompt: str = Body(..., embed=True)) -> dict[str, Any]:
        return checked(prompt)

    def boost(prompt: str = Body(...), word: str = Body(...)) -> dict[str, Any]:
        return {"prompt": boosted(prompt, word)}

    # The host's server reads the types of these, and the annotations here are text.
    check.__annotations__ = {"prompt": str}
    boost.__annotations__ = {"prompt": str, "word": str}
    app.add_api_route("/ebca/check", check, methods=["POST"])
    app.add_api_route("/ebca/boost", boost, methods=["POST"])


def checked(prompt: str) -> dict[str, Any]:
    """``error`` (message, start, end) or None, and ``words``: name, text, boost (or None) and excite of each chip."""
    try:
        parsed = parse(prompt)
    except DirectiveError as error:
        return {"error": {"message": str(error), "start": error.start, "end": error.end}, "words": []}
    encoder = _encoder()
    if encoder is None:
        return {"error": None, "words": []}
    try:
        chips = _chips(encoder, parsed.text, parsed.plan)
    except words.WordError as error:
        return {"error": {"message": str(error), "start": 0, "end": 0}, "words": []}
    return {"error": None, "words": chips}


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
