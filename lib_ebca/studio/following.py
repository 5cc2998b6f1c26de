"""A picture and others that follow it: from prompts and options to recipes, into the pictures' texts and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lib_ebca.studio import infotext, recipe, recorded
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.infotext import Infotext
from lib_ebca.studio.recipe import OURS, Recipe, Settings, Source
from lib_ebca.studio.values import readable

if TYPE_CHECKING:
    from lib_ebca.language.concept import Concept
    from lib_ebca.language.follow import Follow
    from lib_ebca.language.plan import Plan

KIND = "p2p"
TOGETHER = f"{OURS} together"
_EXPECTED = "the prompts and plans that were drawn together, as `ebca p2p` writes them"


def recipes(
    prompts: Sequence[str], follow: Follow, options: Plan, settings: Settings, seed: int, tokenizer: Any
) -> list[Recipe]:
    """The source's recipe and then each target's, all of the same seed.

    Args:
        prompts: the source's and at least one target's, directives and all.
        follow: what the targets take; words that a target does not hold are left out for it.
        options: on top of each prompt's own plan; its concepts are of the targets alone, within the words' window, and
            their words keep their own map, as P2P-HRV has it.
        settings: of all.
        seed: of all.
        tokenizer: of the model.

    Raises:
        UserError: there is no target.
        WordError: a word is in no target.
        DirectiveError, PlanError.
    """
    from lib_ebca.language.directives import parse
    from lib_ebca.language.words import tokenise

    if len(prompts) < 2:
        raise UserError("there is nothing that follows: give the source's prompt and at least one more")
    parsed = [parse(readable("the prompt", prompt)) for prompt in prompts]
    tokenised = [tokenise(tokenizer, each.text) for each in parsed]
    targets = tokenised[1:]
    held = {
        word: [_holds(prompt, word, tokenizer) for prompt in targets]
        for word in (*dict(follow.word_spans), *dict(follow.word_weights), *follow.keep)
    }
    occurring = [[_holds(prompt, each.word, tokenizer) for prompt in targets] for each in options.concepts]
    for word, found in (*held.items(), *zip((each.word for each in options.concepts), occurring, strict=True)):
        if not any(found):
            _refuse(targets[0], word, tokenizer)
    plain = replace(options, concepts=())
    made = [Recipe(settings, prompts[0], parsed[0].plan.merged(plain), seed, len(prompts), 0)]
    for number in range(len(targets)):
        concepts = tuple(
            _within(each, follow) for each, found in zip(options.concepts, occurring, strict=True) if found[number]
        )
        own = replace(
            follow,
            words=tuple((word, span) for word, span in follow.word_spans if held[word][number]),
            weights=tuple((word, weight) for word, weight in follow.word_weights if held[word][number]),
            keep=(*(word for word in follow.keep if held[word][number]), *(each.word for each in concepts)),
        )
        plan = parsed[number + 1].plan.merged(replace(plain, concepts=concepts, follow=own))
        made.append(Recipe(settings, prompts[number + 1], plan, seed, len(prompts), number + 1))
    return made


def to_text(together: Sequence[Recipe], position: int, source: Source) -> str:
    """The "parameters" text of one of the pictures; it holds what all of them were made of."""
    info = infotext.read(recipe.to_text(together[position], source))
    version = {"Version": info.fields["Version"]}
    fields = {name: value for name, value in info.fields.items() if name not in version}
    written = json.dumps(
        {"prompts": [each.prompt for each in together], "plans": [each.plan.to_dict() for each in together]},
        ensure_ascii=False,
    )
    return infotext.write(
        Infotext(info.prompt, info.negative, {**fields, f"{OURS} task": KIND, TOGETHER: written, **version})
    )


def from_text(text: str, made: Recipe) -> list[Recipe]:
    """All recipes that a picture was drawn together with, of the settings and the seed of its own.

    Raises UserError where the text is of no such picture, or spoilt.
    """
    from lib_ebca.language.checks import PlanError
    from lib_ebca.language.plan import Plan

    fields = infotext.read(text).fields
    if fields.get(f"{OURS} task") != KIND or TOGETHER not in fields:
        raise UserError(f"the picture was not made by `ebca {KIND}`: --from repeats the same task")
    written = fields[TOGETHER]
    try:
        data = json.loads(written)
        prompts, plans = data["prompts"], [Plan.from_dict(plan) for plan in data["plans"]]
        if not all(isinstance(prompt, str) for prompt in prompts) or not 2 <= len(prompts) == len(plans):
            raise TypeError
    except (ValueError, TypeError, LookupError, RecursionError, PlanError):
        raise recorded.refused(TOGETHER, written, _EXPECTED) from None
    count = len(prompts)
    if count > recipe.MOST_TOGETHER:
        raise recorded.refused(TOGETHER, written, f"of at most {recipe.MOST_TOGETHER} pictures")
    return [
        Recipe(made.settings, recorded.text(TOGETHER, prompt), plan, made.seed, count, place)
        for place, (prompt, plan) in enumerate(zip(prompts, plans, strict=True))
    ]


def _within(concept: Concept, follow: Follow) -> Concept:
    start, until = follow.cross_span
    return replace(concept, start=max(start, concept.start), until=max(min(until, concept.until), start, concept.start))


def _holds(prompt: Any, word: str, tokenizer: Any) -> bool:
    from lib_ebca.language.words import WordError, rows

    try:
        return bool(rows(prompt, word, None, tokenizer))
    except WordError:
        return False


def _refuse(prompt: Any, word: str, tokenizer: Any) -> None:
    from lib_ebca.language.words import rows

    rows(prompt, word, None, tokenizer)
