"""From the pixels of two views to the model's input, quality metrics and heat maps."""
