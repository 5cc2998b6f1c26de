"""What happens inside a cross-attention layer: energies, one step of the context, averaged outputs, records."""
