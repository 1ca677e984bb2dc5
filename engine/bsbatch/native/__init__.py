"""Optional C code for the work on every pixel, compiled at installation if there is a C compiler."""
