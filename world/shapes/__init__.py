"""Coloured shapes on a background: the world of the embedded model `shapes`."""
