"""Plans whose pictures follow others, to what the layers need: prompts aligned, words to rows of their contexts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lib_ebca.attention.picture import Blend, Following
from lib_ebca.hosts.run import HostError
from lib_ebca.language.follow import Follow
from lib_ebca.language.plan import Plan
from lib_ebca.language.words import TokenisedPrompt, WordError, rows
from lib_ebca.methods.alignment import AlignmentError, TokenRows, aligned
from lib_ebca.methods.prompt_to_prompt import equaliser


def followings(
    plans: Sequence[Plan], copies: int, tokenised: Sequence[TokenisedPrompt], length: int, tokenizer: Any
) -> tuple[Following | None, ...]:
    """What each picture of a call follows.

    Args:
        plans: one for each picture; each prompt's pictures stand together.
        copies: pictures of a prompt.
        tokenised: the pictures' prompts.
        length: rows of the contexts.
        tokenizer: of the prompts.

    Raises:
        HostError: the followed prompt is not in the call, or follows another itself; the prompts cannot be aligned.
        WordError: a word is not in its prompt.
    """
    if all(plan.follow is None for plan in plans):
        return (None,) * len(plans)
    if not tokenised:
        raise HostError("following needs the prompts in words: give `prompt`, not `prompt_embeds`")
    prompts = len(plans) // copies
    follows = [_of(plan, index // copies, prompts) for index, plan in enumerate(plans)]
    found: list[Following | None] = []
    for index, follow in enumerate(follows):
        if follow is None:
            found.append(None)
            continue
        source = follow.source * copies + index % copies
        if follows[source] is not None:
            raise HostError(
                f"follow.source is {follow.source}, and that prompt follows another one itself: it should follow none"
            )
        found.append(_following(follow, source, tokenised[source], tokenised[index], length, tokenizer))
    return tuple(found)


def _of(plan: Plan, own: int, prompts: int) -> Follow | None:
    follow = plan.follow
    if follow is None:
        return None
    if prompts < 2 or follow.source >= prompts:
        which = f"from 0 to {prompts - 1}" if prompts > 1 else "of several: give the call two prompts at least"
        raise HostError(f"follow.source is {follow.source}: it should be the number of a prompt of the call, {which}")
    # One plan for all of a call's prompts: the source follows nobody.
    return None if follow.source == own else follow


def _following(
    follow: Follow, source: int, followed: TokenisedPrompt, own: TokenisedPrompt, length: int, tokenizer: Any
) -> Following:
    def columns(word: str) -> tuple[int, ...]:
        return rows(own, word, None, tokenizer)

    try:
        alignment = aligned(token_rows(followed, length), token_rows(own, length), follow.align, follow.published)
    except AlignmentError as error:
        raise HostError(f"{own.text!r} cannot follow {followed.text!r}: {error}") from None
    weights = {columns(word): weight for word, weight in follow.word_weights}
    blend = None
    if follow.blend:
        of, to = (_marked(follow.blend, prompt, tokenizer) for prompt in (followed, own))
        blend = Blend(of, to, follow.threshold, pixels=follow.pixels)
    return Following(
        source,
        alignment,
        follow.cross_span,
        tuple((columns(word), span) for word, span in follow.word_spans),
        follow.self_span,
        equaliser(length, weights) if weights else None,
        tuple(row for word in follow.keep for row in columns(word)),
        follow.pixels,
        blend,
    )


def token_rows(prompt: TokenisedPrompt, length: int) -> TokenRows:
    """A prompt as the rows of a context of that length; further chunks hold padding."""
    size = len(prompt.tokens) // len(prompt.lengths)
    ids = [token.id for token in prompt.tokens][:length]
    start, end = ids[0], ids[size - 1]
    while len(ids) < length:
        ids += [start, *[end] * (size - 1)]
    words: dict[int, list[int]] = {}
    for row, token in enumerate(prompt.tokens[:length]):
        if token.word is not None:
            words.setdefault(token.word, []).append(row)
    last = max((chunk for chunk, count in enumerate(prompt.lengths) if count), default=0)
    used = min(last * size + prompt.lengths[last] + 2, length)
    return TokenRows(tuple(ids), tuple(map(tuple, words.values())), used, size)


def _marked(words: Sequence[str], prompt: TokenisedPrompt, tokenizer: Any) -> tuple[int, ...]:
    """The rows of those words that the prompt holds; it should hold one at least."""
    found: list[int] = []
    missing: WordError | None = None
    for word in words:
        try:
            found += rows(prompt, word, None, tokenizer)
        except WordError as error:
            missing = missing or error
    if not found and missing is not None:
        raise missing
    return tuple(found)


def blending(step: Callable[..., Any], blend: Callable[[Any], Any]) -> Callable[..., Any]:
    """A scheduler's ``step`` whose new latents go through ``blend``."""

    def blended(*args: Any, **keywords: Any) -> Any:
        result = step(*args, **keywords)
        if isinstance(result, tuple):
            return (blend(result[0]), *result[1:])
        result.prev_sample = blend(result.prev_sample)
        return result

    return blended
