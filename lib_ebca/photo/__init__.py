"""From a photograph to a latent and back: inversion, its regularisation, and repainting."""
