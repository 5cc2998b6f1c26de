"""Does the method make pictures that say what their prompts say? Methods, prompt sets and seeds, paired and judged."""
