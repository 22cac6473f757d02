"""Explanations of trained networks: attribution maps, how far they are to be trusted, and pictures of them."""
