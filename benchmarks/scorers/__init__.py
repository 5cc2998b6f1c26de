"""Scores by networks for models whose pictures no rule can read: CLIP, BLIP and DINO, through transformers."""
