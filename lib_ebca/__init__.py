"""Energy-based cross-attention for Stable Diffusion: Bayesian context update (BCU) and composition (CACAO)."""

from __future__ import annotations

from lib_ebca.language.checks import PlanError
from lib_ebca.language.directives import DirectiveError
from lib_ebca.language.plan import Boost, Concept, ContextUpdate, Edit, Excite, Follow, Plan

__all__ = ["Boost", "Concept", "ContextUpdate", "DirectiveError", "Edit", "Excite", "Follow", "Plan", "PlanError"]
