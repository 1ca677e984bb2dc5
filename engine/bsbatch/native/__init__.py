"""What is done to every pixel of a common examination, compiled where there was a C compiler to install with."""
