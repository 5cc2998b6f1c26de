"""What is wanted, in words: plans, the directives that spell them, presets, words and emphasis."""
