"""A job of `p2p`: what its pictures have in common, and their recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib_ebca.studio import following

from ..p2p import asked_follow
from ..photo_options import asked_plan
from .schema import P2p

if TYPE_CHECKING:
    from lib_ebca.language.follow import Follow
    from lib_ebca.language.plan import Plan
    from lib_ebca.studio import Studio
    from lib_ebca.studio.recipe import Recipe, Settings


def follow_of(job: P2p) -> Follow:
    """What the targets take from the source. Raises UserError and PlanError."""
    return asked_follow(
        job.cross, job.self, job.cross_word, job.weight, job.blend, job.threshold, job.align, job.published
    )


def options_of(job: P2p, concepts: bool = True) -> Plan:
    """What is asked of every picture, and with `concepts` of the targets. Raises UserError and PlanError."""
    plan, _ = asked_plan("p2p", job.preset, job.bcu, job.edit, job.boost, job.concept if concepts else (), job.excite)
    return plan


def recipes_of(job: P2p, settings: Settings, seed: int, studio: Studio) -> list[Recipe]:
    """The recipes of a seed's pictures, in their order. Raises WordError where no target holds a word."""
    tokenizer = studio.model.pipe.tokenizer
    return following.recipes(job.prompts, follow_of(job), options_of(job), settings, seed, tokenizer)
