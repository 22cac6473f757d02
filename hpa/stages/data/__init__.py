"""From a source to images, folds and pixels: simulated or read, indexed, dealt, cached."""
