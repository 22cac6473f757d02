"""Anomalies of images and cells: intensities, histograms, embeddings, labels; projections and decisions."""
