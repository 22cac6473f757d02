"""From images with image labels to every cell's mask, classes and confidence."""
