"""Training of the network on an archive with a label table."""
