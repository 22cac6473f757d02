"""Wrong images and labels: embeddings, detectors, maps, decisions, annotators' agreement."""
