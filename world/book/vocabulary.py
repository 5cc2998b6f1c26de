"""The words of the book world: its nouns with the concepts that they belong to, colours, styles and backgrounds."""

from __future__ import annotations

# The nouns of the Attend-and-Excite prompts. Source: Chefer et al., "Attend-and-Excite", 2023, section 5.
ANIMALS = ("cat", "dog", "bird", "bear", "lion", "horse", "elephant", "monkey", "frog", "turtle", "rabbit", "mouse")
OBJECTS = (
    *("backpack", "glasses", "crown", "suitcase", "chair", "balloon"),
    *("bow", "car", "bowl", "bench", "clock", "apple"),
)
# What published edits and studies by concept ask for besides.
OTHERS = (
    *("zebra", "goat", "boat", "castle", "house", "teddy bear", "hat", "shirt"),
    *("banana", "strawberry", "pear", "bus", "bicycle", "dress", "church"),
    *("tree", "cactus", "sunflower", "pizza", "burger", "guitar", "drum"),
    *("hammer", "scissors", "umbrella", "sun", "cloud", "snowman"),
)
NOUNS = (*ANIMALS, *OBJECTS, *OTHERS)

CONCEPTS = {
    "animals": (*ANIMALS, "zebra", "goat"),
    "fruits": ("apple", "banana", "strawberry", "pear"),
    "vehicles": ("car", "boat", "bus", "bicycle"),
    "clothing": ("hat", "shirt", "dress", "glasses"),
    "buildings": ("castle", "house", "church"),
    "plants": ("tree", "cactus", "sunflower"),
    "food": ("pizza", "burger", "apple", "bowl"),
    "music": ("guitar", "drum"),
    "tools": ("hammer", "scissors", "umbrella", "clock"),
    "weather": ("sun", "cloud", "snowman"),
}

# Worn by a living thing: on the head, or before the eyes.
WORN = ("hat", "crown", "bow", "glasses")
WEARERS = (*ANIMALS, "zebra", "goat", "teddy bear", "snowman")
# Shown by the face alone, so that what is worn before the eyes sits low.
FACES = ("cat", "dog", "bear", "lion", "monkey", "frog", "rabbit", "mouse")

PALETTE = {
    "red": (0.88, 0.12, 0.14),
    "orange": (0.98, 0.55, 0.08),
    "yellow": (0.98, 0.88, 0.15),
    "green": (0.15, 0.65, 0.22),
    "blue": (0.13, 0.32, 0.90),
    "purple": (0.50, 0.18, 0.76),
    "pink": (1.00, 0.50, 0.74),
    "brown": (0.48, 0.28, 0.14),
    "gray": (0.53, 0.53, 0.53),
    "black": (0.11, 0.11, 0.12),
    "white": (0.96, 0.96, 0.96),
}
COLOURS = tuple(PALETTE)

STYLES = ("drawing", "sticker", "flat icon", "line drawing")
# Those without a scene are of one tone.
BACKGROUNDS = ("meadow", "sky", "night", "sand", "white", "gray", "black")
PLACES = {"meadow": "in a meadow", "sky": "in the sky", "night": "at night", "sand": "on the sand"}
RELATIONS = ("left of", "right of", "above", "below")
