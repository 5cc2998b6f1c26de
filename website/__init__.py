"""What the site has besides docs: pages made of the notebooks, and the gallery."""
