"""Edits of drawn scenes, judged, and inversions compared."""
