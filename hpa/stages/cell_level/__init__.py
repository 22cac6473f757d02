"""Classifiers of cells by weak supervision: scores, bags, pseudo-labels, training, fusion."""
