"""From the pixels of two views to the network's input, image quality metrics and heat maps."""
