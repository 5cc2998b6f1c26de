"""Whole pictures on diffusers, without a terminal: recipes in, pictures with their recipe inside out."""

from __future__ import annotations

from lib_ebca.studio.studio import Picture, Studio

__all__ = ["Picture", "Studio"]
