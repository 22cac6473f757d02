"""Cells and nuclei in an image: networks, classical watershed, the user's own label maps, and measurements of cells."""
