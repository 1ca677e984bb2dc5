"""The paper's VGG16 in Keras: architecture, starting weights, changes of shape."""
