"""How a training goes; light, for the command line shows its defaults."""

from dataclasses import dataclass
from enum import StrEnum

from bsbatch.errors import UsageError
from bsbatch.geometry import VIEW_ROWS

CROP_SIDES = range(32, VIEW_ROWS + 1, 32)
"""Multiples of what five poolings make one pixel of, up to the whole image."""


class Schedule(StrEnum):
    """What becomes of the learning rate."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """Falls to zero along half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts)."""


class Precision(StrEnum):
    """What the convolutions compute in while training; weights, losses and the finished network are float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Mixed precision (Micikevicius et al., ICLR 2018) without loss scaling: bfloat16 has float32's exponents."""


class LesionMap(StrEnum):
    """What is held against the lesions' places while training, given masks."""

    OWN = "own"
    """A 1 x 1 convolution of its own behind block 5, left out of the finished network."""
    CAM = "cam"
    """The classification's Grad-CAM map, so that the finished network's maps lie where the lesions are (guided
    attention: Li et al., CVPR 2018)."""


class OperatingPoint(StrEnum):
    """What on the ROC curve of the validation set is moved to 0.5 at the end, by a shift of the last bias."""

    TRAINED = "trained"
    """Nothing: 0.5 stays what the loss made of it."""
    EQUAL_ERRORS = "equal-errors"
    """Where sensitivity and specificity come closest."""
    MACRO_EQUAL_ERRORS = "macro-equal-errors"
    """The same of their means over the centres: one with few examinations says as much of the next centre as one with
    many."""
    YOUDEN = "youden"
    """Where their sum is largest (Youden, Cancer 1950;3:32-35)."""


_WIDEST = 4.0
"""Beyond that nobody would see a body in it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is trained; the defaults are the paper's."""

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
    """Mirror every other image about its vertical axis, so that each view stands on either side."""
    blur: float = 0.0
    """Greatest standard deviation of a Gaussian that every other whole image is blurred with, in pixels of a
    1024 x 256 view: cameras of more counts and less resolution than those of the training."""
    field: float = 1.0
    """Every fourth whole image is shown in a field of view up to so many times as wide, and up to 1.25 times as large
    from head to foot: matrices of 1024 x 512 and 512 x 256, which squeeze the body."""
    batch_norm: bool = False
    """Train with batch normalisation, from random weights; it is folded into the convolutions at the end."""
    crop_epochs: int = 0
    """So many of the first epochs see crops, labelled by the lesions in them; they need masks."""
    crop_side: int = 192
    """Rows and columns of a crop, a multiple of 32; 192 is about what one output of block 5 sees."""
    lesion_weight: float = 50.0
    """Weight of the lesions' places, given masks, beside the classification's 1."""
    lesion_map: LesionMap = LesionMap.OWN
    validation_limit: int = 164
    """Examinations that validate at most, classes as even as they come; the paper's number."""
    operating_point: OperatingPoint = OperatingPoint.TRAINED
    """Of all that validates, whatever `validation_limit`."""
    precision: Precision = Precision.FLOAT32
    ema_momentum: float = 0.0
    """Of an exponential moving average of the weights over the steps, which then validates and is left at the end
    (Polyak and Juditsky, SIAM J Control Optim 1992;30:838-855); 0 for none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
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
        self._require_an_average()

    def _require_an_average(self) -> None:
        if not 0.0 <= self.ema_momentum < 1.0:
            raise UsageError("--ema-momentum must be 0 or more and below 1")
        if self.ema_momentum and self.batch_norm:
            raise UsageError("--ema-momentum averages weights, but not what --batch-norm counts: give only one of them")


PAPER = Recipe()
"""The paper's."""
