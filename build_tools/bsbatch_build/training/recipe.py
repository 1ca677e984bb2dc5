"""The settings of a training; light, because the command line shows the defaults."""

from dataclasses import dataclass
from enum import StrEnum

from bsbatch.errors import UsageError
from bsbatch.geometry import VIEW_ROWS

CROP_SIDES = range(32, VIEW_ROWS + 1, 32)
"""Multiples of 32 up to the whole image: five poolings reduce 32 pixels to one."""


class Schedule(StrEnum):
    """Course of the learning rate over the epochs."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """Falls to zero along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts)."""


class Precision(StrEnum):
    """Arithmetic of the convolutions in training; weights, losses and the finished network are float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Mixed precision (Micikevicius et al., ICLR 2018) without loss scaling: bfloat16 has float32's exponents."""


class LesionMap(StrEnum):
    """The map that the loss compares with the lesion masks; only with masks."""

    OWN = "own"
    """The output of a 1 x 1 convolution behind block 5, which the finished network does not have."""
    CAM = "cam"
    """The Grad-CAM map of the classification, so that the heat maps of the finished network coincide with the lesions
    (guided attention: Li et al., CVPR 2018)."""


class ThresholdCriterion(StrEnum):
    """Choice of a threshold on the validation ROC curve; a shift of the last bias then moves it to 0.5."""

    TRAINED = "trained"
    """No shift."""
    EQUAL_ERRORS = "equal-errors"
    """The point with the smallest difference of sensitivity and specificity."""
    MACRO_EQUAL_ERRORS = "macro-equal-errors"
    """The same for the means of both over the centres: a small centre predicts the next centre as well as a large
    one."""
    YOUDEN = "youden"
    """The point with the largest sum of both (Youden, Cancer 1950;3:32-35)."""


_WIDEST = 4.0
"""In a wider field a body is no longer recognisable."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training; the defaults are the paper's."""

    epochs: int = 6
    steps: int = 200
    """Batches in an epoch."""
    batch_size: int = 4
    """The paper does not give it; 200 steps of 4 go once through its 329 positives and as many negatives."""
    learning_rate: float = 1e-4
    schedule: Schedule = Schedule.CONSTANT
    horizon: int | None = None
    """Epochs over which the cosine falls to zero, None for `epochs`; a larger number stops on the way down."""
    flip: bool = True
    """Mirror every other image about its vertical axis; each view is then seen on either side."""
    blur: float = 0.0
    """Largest standard deviation of the Gaussian blur of every other whole image, in pixels of a 1024 x 256 view. It
    imitates cameras with more counts and less resolution than those of the training."""
    field: float = 1.0
    """Largest factor on the width of the field of view of every fourth whole image; its height then grows up to 1.25
    times. It imitates matrices of 1024 x 512 and 512 x 256, which squeeze the body."""
    batch_norm: bool = False
    """Train with batch normalisation, from random weights; it is folded into the convolutions at the end."""
    crop_epochs: int = 0
    """Number of first epochs on crops, which are labelled by the lesions in them; needs masks."""
    crop_side: int = 192
    """Rows and columns of a crop, a multiple of 32; 192 is about the receptive field of block 5."""
    lesion_weight: float = 50.0
    """Weight of the loss of the lesion map, with masks; the classification has weight 1."""
    lesion_map: LesionMap = LesionMap.OWN
    validation_limit: int = 164
    """Largest number of examinations that validate, with classes as even as possible; the paper's number."""
    operating_point: ThresholdCriterion = ThresholdCriterion.TRAINED
    """Chosen on the whole validation set, regardless of `validation_limit`."""
    precision: Precision = Precision.FLOAT32
    ema_momentum: float = 0.0
    """Momentum of an exponential moving average of the weights over the steps, 0 for none. The average is validated,
    and is the result (Polyak and Juditsky, SIAM J Control Optim 1992;30:838-855)."""

    def __post_init__(self) -> None:
        """Raise UsageError for values that no training can use."""
        if self.crop_side not in CROP_SIDES:
            raise UsageError(f"--crop-side {self.crop_side} is no multiple of 32 up to 512")
        if self.horizon is not None and self.horizon < self.epochs:
            raise UsageError(f"--horizon {self.horizon} is below --epochs {self.epochs}: give as many or more")
        for name in ("epochs", "steps", "batch_size", "validation_limit"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1")
        if not self.learning_rate > 0.0 or not self.blur >= 0.0:
            raise UsageError("--learning-rate must be above 0, and --blur 0 or more")
        if not 1.0 <= self.field <= _WIDEST:
            raise UsageError(f"--field must be 1 to {_WIDEST:g}")
        if self.lesion_weight < 0.0 or not 0 <= self.crop_epochs <= self.epochs:
            raise UsageError("--lesion-weight must be 0 or more, and --crop-epochs 0 to --epochs")
        self._check_average()

    def _check_average(self) -> None:
        if not 0.0 <= self.ema_momentum < 1.0:
            raise UsageError("--ema-momentum must be 0 or more and below 1")
        if self.ema_momentum and self.batch_norm:
            raise UsageError(
                "--ema-momentum averages weights, but not the statistics of --batch-norm: give only one of them"
            )


PAPER = Recipe()
"""The paper's."""
