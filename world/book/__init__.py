"""The book world: emoji as things, with the nouns, colours and prompts of the literature."""
