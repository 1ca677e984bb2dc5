"""Shapes of the network's input and of its outputs: anterior view on the left, posterior on the right.

Ibrahim et al., Cancer Imaging 2023; 23:12: each view is resized to 256 wide x 512 high. VGG16's four poolings before
its last convolution leave one cell of the heat map for 16 x 16 pixels.
"""

VIEW_ROWS, VIEW_COLUMNS = 512, 256
"""Pixels of one view."""
IMAGE_SHAPE = (VIEW_ROWS, 2 * VIEW_COLUMNS)
"""Rows and columns of the input: two views side by side."""
INPUT_SHAPE = (1, *IMAGE_SHAPE)
"""Channels, rows and columns of the input; a batch is ``(N, *INPUT_SHAPE)``."""
CELL = 16
"""Side of a cell of the heat map, pixels of the input."""
CAM_ROWS, CAM_COLUMNS = VIEW_ROWS // CELL, VIEW_COLUMNS // CELL
"""Cells of the heat map in one view."""
CAM_SHAPE = (CAM_ROWS, 2 * CAM_COLUMNS)
"""Rows and columns of the heat map."""
OUTPUT_SHAPES: dict[str, tuple[int, ...]] = {"probabilities": (2,), "distances": (), "cams": CAM_SHAPE}
"""Shape of each output of the network for one examination, by its field of `bsbatch.records.Inference`."""
