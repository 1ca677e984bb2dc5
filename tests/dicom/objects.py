"""Small sound DICOM objects and their records, with changes by keyword."""

from copy import deepcopy
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from bsbatch.dicom.headers.read import read_header
from bsbatch.reasons import Verdict
from bsbatch.records import Detector, EvidenceKind, FrameView, Header, ObjectRef, PixelData, ScanObject, View

NM = "1.2.840.10008.5.1.4.1.1.20"
CT = "1.2.840.10008.5.1.4.1.1.2"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ROWS, COLUMNS = 16, 4

SOUND = Header(
    sop_uid="1.2.3.4.5",
    sop_class=NM,
    study_uid="1.2.3",
    series_uid="1.2.3.4",
    frame_of_reference_uid=None,
    patient_id=None,
    patient_issuer=None,
    acquisition_datetime=None,
    content_date=None,
    patient_name=None,
    modality="NM",
    image_type=("ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"),
    manufacturer="Nobody",
    model_name="Test camera",
    acquisition_date="20200102",
    acquisition_time="101500",
    transfer_syntax=ExplicitVRLittleEndian,
    rows=1024,
    columns=256,
    frames=2,
    samples_per_pixel=1,
    photometric="MONOCHROME2",
    bits_allocated=16,
    bits_stored=16,
    is_signed=False,
    pixel_spacing=(2.4, 2.4),
    rescale=(1.0, 0.0),
    is_lossy=False,
    counts_accumulated=None,
    scan_length=None,
    detector_vector=(1, 2),
    energy_window_vector=(1, 1),
    energy_windows=(((126.0, 154.0),),),
    detectors=(Detector(180.0, (), ()), Detector(0.0, (), ())),
    view_texts=(),
    private_labels=(),
    view_position=(),
    image_ids=(),
    descriptions=(),
    whole_body_technique=None,
    drugs=(),
    study=None,
    high_bit=15,
    padding=(),
    has_modality_lut=False,
    pixel_data=PixelData(2000, 1024 * 256 * 2 * 2, is_complete=True),
)


def header(**changes: Any) -> Header:
    """Header of a sound object of two 1024 x 256 frames, with changes."""
    return SOUND._replace(**changes)


def counts(frames: int = 2, kind: str = "<u2") -> NDArray[Any]:
    """``(frames, 16, 4)`` values below 128, different in every pixel."""
    return np.arange(frames * ROWS * COLUMNS).reshape(frames, ROWS, COLUMNS).astype(kind)


def dataset(frames: NDArray[Any] | None = None, **attributes: Any) -> Dataset:
    """An NM object without the attributes whose value is None."""
    pixels = counts() if frames is None else frames
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(NM), UID("1.2.3.4.5")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = Dataset()
    made.file_meta = meta
    bits = pixels.dtype.itemsize * 8
    fields: dict[str, Any] = {
        "SOPClassUID": NM,
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "Modality": "NM",
        "ImageType": ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"],
        "PatientName": "Secret^Patience",
        "DetectorVector": list(range(1, len(pixels) + 1)),
        "NumberOfFrames": len(pixels),
        "Rows": pixels.shape[1],
        "Columns": pixels.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
        **attributes,
    }
    for name, value in fields.items():
        if value is not None:
            setattr(made, name, value)
    return made


def item(**attributes: Any) -> Dataset:
    """An item of a sequence."""
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def encode(source: Dataset, syntax: UID = ExplicitVRLittleEndian, **options: Any) -> bytes:
    """File of a dataset in a transfer syntax, its pixels compressed or byte-swapped."""
    made, buffer = deepcopy(source), BytesIO()
    if syntax.is_encapsulated:
        made.compress(syntax, generate_instance_uid=False, **options)
    else:
        made.file_meta.TransferSyntaxUID = syntax
        if not syntax.is_little_endian and made.BitsAllocated > 8:
            made.PixelData = np.frombuffer(made.PixelData, f"<u{made.BitsAllocated // 8}").byteswap().tobytes()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def without_preamble(source: Dataset, *, is_implicit: bool) -> bytes:
    """File of a bare dataset, as in archives from before PS3.10."""
    made, buffer = deepcopy(source), BytesIO()
    del made.file_meta
    made.save_as(buffer, implicit_vr=is_implicit, little_endian=True, enforce_file_format=False)
    return buffer.getvalue()


def read(data: bytes) -> Header:
    """Header of a file in memory."""
    return read_header(BytesIO(data), len(data))


def ref(source: str = "a.dcm") -> ObjectRef:
    """Reference to an object that does not exist."""
    return ObjectRef(source, "/archive/" + source, 1, "1")


def scan(views: str, name: str, defect: Verdict | None = None, **changes: Any) -> ScanObject:
    """A whole-body object whose frames show ``A``, ``P`` or both; UID and path are made from its name."""
    known = {"A": View.ANTERIOR, "P": View.POSTERIOR}
    frames = tuple(
        FrameView(number, known[view], EvidenceKind.START_ANGLE) for number, view in enumerate(views, start=1)
    )
    fields = {"sop_uid": "1.2.3.4." + name, "frames": len(views), **changes}
    return ScanObject(ref(name), header(**fields), tuple(sorted(frames, key=lambda frame: frame.view)), defect)
