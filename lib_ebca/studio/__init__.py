"""Whole pictures on diffusers, without a terminal: recipes in, pictures with their recipe inside out."""
