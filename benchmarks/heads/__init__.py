"""Head relevance, looked at: maps of the heads, and what weakening them in order does to pictures."""
