"""Published methods as pure functions on tensors: torch alone, and nothing of ours."""
