"""Optional C code for the work on every pixel, compiled on installation if there is a compiler."""
