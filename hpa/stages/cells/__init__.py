"""From fields to cells: segmentation and its training, and the cells' pixels and labels."""
