"""How models/shapes is made, from nothing: scenes, pictures, captions, tokenizer, VAE, denoiser, evaluation, export."""
