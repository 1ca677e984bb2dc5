"""The VGG16 of the paper in Keras: architecture, starting weights, changes of shape."""
