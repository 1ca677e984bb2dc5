import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
from tests.dicom.objects import CT, NM, SECONDARY_CAPTURE, counts, dataset, encode, header, item

from bsbatch.config import Selection, TracerRule
from bsbatch.dicom.selection import decline, find_defect, may_be_scan, photopeak_frames
from bsbatch.errors import ItemError
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import Intake
from bsbatch.reasons import Reason, Stage, Status
from bsbatch.records import EnergyRange, Examination, ObjectRef, PixelData, SettledObject
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry
from bsbatch.tracers.record import Tracer

MAX_PIXELS = 1 << 24
SELECTION = Selection()
PHOTOPEAK, SCATTER = ((126.0, 154.0),), ((92.0, 125.0),)
IODINE, UNREADABLE = ((327.6, 400.4),), (None,)
TYPE = ("ORIGINAL", "PRIMARY")
STATIC: dict[str, Any] = {"image_type": (*TYPE, "STATIC", "EMISSION")}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "CT", "sop_class": "1.2.840.10008.5.1.4.1.1.2"}, Reason.MODALITY_NOT_NM),
        ({"modality": "MR", "sop_class": None}, Reason.MODALITY_NOT_NM),
        ({"modality": "CT", "sop_class": SECONDARY_CAPTURE}, Reason.MODALITY_NOT_NM),
        ({"modality": "", "sop_class": None}, Reason.MODALITY_NOT_NM),
        ({"modality": "PT", "sop_class": "1.2.840.10008.5.1.4.1.1.128"}, Reason.PET),
        ({"modality": "PT", "sop_class": SECONDARY_CAPTURE}, Reason.PET),
        ({"modality": "", "sop_class": "1.2.840.10008.5.1.4.1.1.130"}, Reason.PET),
        ({"modality": "SR", "sop_class": None}, Reason.STRUCTURED_REPORT_OR_PDF),
        ({"modality": "KO", "sop_class": None}, Reason.STRUCTURED_REPORT_OR_PDF),
        ({"modality": "NM", "sop_class": "1.2.840.10008.5.1.4.1.1.88.33"}, Reason.STRUCTURED_REPORT_OR_PDF),
        ({"modality": "NM", "sop_class": "1.2.840.10008.5.1.4.1.1.104.1"}, Reason.STRUCTURED_REPORT_OR_PDF),
        ({"modality": "OT", "sop_class": SECONDARY_CAPTURE, "image_type": ()}, Reason.SC_DISPLAY_CAPTURE),
        ({"modality": "", "sop_class": SECONDARY_CAPTURE + ".1.4"}, Reason.SC_DISPLAY_CAPTURE),
        ({"sop_class": SECONDARY_CAPTURE, "image_type": (*TYPE, "")}, Reason.SC_DISPLAY_CAPTURE),
        ({"sop_class": SECONDARY_CAPTURE, "image_type": ("DERIVED", "SECONDARY")}, Reason.SC_DISPLAY_CAPTURE),
        ({"sop_class": SECONDARY_CAPTURE, "samples_per_pixel": 3}, Reason.SC_DISPLAY_CAPTURE),
        ({"samples_per_pixel": 3, "photometric": "RGB"}, Reason.COLOR_IMAGE),
        ({"photometric": "PALETTE COLOR", "sop_class": SECONDARY_CAPTURE}, Reason.COLOR_IMAGE),
        ({"modality": "PT"}, Reason.PET),
        ({"modality": "SR"}, Reason.STRUCTURED_REPORT_OR_PDF),
        ({**STATIC, "rows": 256, "whole_body_technique": "1PS"}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "TOMO", "WHOLE BODY"), "descriptions": ("WB SPECT",)}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 128, "columns": 128, "frames": 60, "descriptions": ("WB",)}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "STATIC", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "DYNAMIC", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "GATED", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "TOMO", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "RECON TOMO", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (*TYPE, "WHOLE BODY", "TRANSMISSION")}, Reason.TRANSMISSION_IMAGE),
        ({"image_type": (), "rows": 256, "columns": 256}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 100, "columns": 50}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 1024, "columns": 1024}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 1024, "columns": 100}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 1024, "columns": 0}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 899, "columns": 500}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 1201, "columns": 200}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 511, "columns": 128, "frames": 9}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 127, "columns": 40}, Reason.NOT_WHOLE_BODY),
        ({"image_type": (), "rows": 128, "columns": 128, "frames": 9, "descriptions": ("WB",)}, Reason.NOT_WHOLE_BODY),
        ({**STATIC, "rows": 255, "columns": 64, "whole_body_technique": "1PS"}, Reason.NOT_WHOLE_BODY),
    ],
)
def test_an_object_that_is_no_whole_body_bone_scan_is_declined(changes: dict[str, Any], reason: Reason) -> None:
    verdict = decline(header(**changes))

    assert verdict is not None
    assert (verdict.stage, verdict.reason) == (Stage.HEADER, reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": 400, "columns": 100}, Reason.MATRIX_TOO_SMALL),
        ({"rows": 64, "columns": 256}, Reason.MATRIX_TOO_SMALL),
        ({"rows": 256, "columns": 64, "descriptions": ("WBC THORAX",)}, Reason.MATRIX_TOO_SMALL),
        ({"rows": 256, "columns": 64, "descriptions": ("WHOLE BODY",)}, None),
        ({"rows": 512, "columns": 128}, None),
    ],
)
def test_a_small_matrix_that_nothing_names_fails_aloud(changes: dict[str, Any], reason: Reason | None) -> None:
    pixels = PixelData(2000, 1024 * 256 * 2 * 2, is_complete=True)
    small = header(image_type=(), pixel_data=pixels, **changes)

    assert decline(small) is None
    verdict = find_defect(small, MAX_PIXELS)
    assert (verdict.reason if verdict else None) is reason


NOTHING: dict[str, Any] = {"modality": "", "image_type": (), "rows": 0, "columns": 0, "pixel_data": None}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sop_class": "1.2.840.10008.5.1.4.1.1.5"},
        {"sop_class": SECONDARY_CAPTURE},
        {"sop_class": SECONDARY_CAPTURE + ".1.3"},
        {"sop_class": None},
        {"sop_class": "1.3.12.2.1107.5.9.1"},
        {"image_type": (*TYPE, "WHOLE BODY", "EMISSION"), "sop_class": SECONDARY_CAPTURE},
        {"image_type": (*TYPE, "WHOLE BODY", "EMISSION"), "modality": "NM"},
        {"modality": "NM"},
        {"modality": "NM", "rows": 1024},
        {"modality": "NM", "image_type": (*TYPE, "STATIC", "EMISSION")},
        {"modality": "NM", "sop_class": None},
    ],
    ids=str,
)
def test_a_header_that_ends_before_its_matrix_fails_if_nothing_excludes_a_bone_scan(changes: dict[str, Any]) -> None:
    verdict = decline(header(**NOTHING | changes))

    assert verdict is not None
    assert (verdict.status, verdict.reason) == (Status.FAILED, Reason.DECODE_FAILED)
    assert "again" in verdict.message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.2"}, Reason.MODALITY_NOT_NM),
        ({"modality": "CT", "sop_class": CT}, Reason.MODALITY_NOT_NM),
        ({"modality": "OT", "sop_class": SECONDARY_CAPTURE}, Reason.SC_DISPLAY_CAPTURE),
        ({"modality": "NM", "image_type": (*TYPE, "DYNAMIC", "EMISSION")}, Reason.NOT_WHOLE_BODY),
        ({"modality": "NM", "image_type": (*TYPE, "WHOLE BODY", "TRANSMISSION")}, Reason.TRANSMISSION_IMAGE),
        ({"modality": "NM", "sop_class": "1.2.840.10008.5.1.4.1.1.66"}, Reason.NOT_WHOLE_BODY),
    ],
    ids=str,
)
def test_a_header_that_ends_early_is_skipped_if_it_is_known_to_be_something_else(
    changes: dict[str, Any], reason: Reason
) -> None:
    verdict = decline(header(**NOTHING | changes))

    assert verdict is not None
    assert (verdict.status, verdict.reason) == (Status.SKIPPED, reason)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_type": (*TYPE, "WHOLE BODY", "EMISSION"), "rows": 300, "columns": 300},
        {"sop_class": SECONDARY_CAPTURE},
        {"sop_class": SECONDARY_CAPTURE, "image_type": ("DERIVED", "SECONDARY", "WHOLE BODY", "EMISSION")},
        {"sop_class": None},
        {"sop_class": NM, "modality": ""},
        {"image_type": ()},
        {"image_type": TYPE},
        {"image_type": (), "rows": 512, "columns": 256},
        {"image_type": (), "rows": 900, "columns": 500},
        {"image_type": (), "rows": 1200, "columns": 200},
        {"image_type": (), "rows": 512, "columns": 128, "frames": 9},
        {"image_type": (), "rows": 511, "columns": 128, "frames": 8},
        {"image_type": (), "rows": 128, "columns": 40},
        {"image_type": (), "rows": 128, "columns": 128, "frames": 8, "descriptions": ("WB",)},
        {**STATIC, "rows": 256, "columns": 64, "whole_body_technique": "1PS"},
        {"image_type": (*TYPE, "", "EMISSION")},
        {"photometric": "MONOCHROME1"},
        {"photometric": "PALETTE COLOR"},
        {"modality": "nm"},
        {"modality": "OT"},
        {"modality": "CT"},
        {"modality": "OT", "sop_class": "1.2.840.10008.5.1.4.1.1.5"},
        {"image_type": (*TYPE, "WHOLE_BODY")},
        {"image_type": (*TYPE, "EMISSION", "WHOLE BODY")},
        {"image_type": (*TYPE, "WB"), "rows": 256, "columns": 64},
        {**STATIC, "whole_body_technique": "1PS"},
        {**STATIC, "descriptions": ("WHOLE BODY BONE",)},
        {**STATIC, "rows": 256, "columns": 1024, "whole_body_technique": "1PS"},
        {"image_type": (), "rows": 256, "columns": 64, "descriptions": ("WB ANT",)},
        {"image_type": (), "rows": 256, "columns": 64, "image_ids": ("Ganzkörper",)},
        {"image_type": (), "rows": 256, "columns": 64, "whole_body_technique": "MSP"},
    ],
    ids=str,
)
def test_a_whole_body_object_is_accepted(changes: dict[str, Any]) -> None:
    assert decline(header(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pixel_data": None}, Reason.NO_PIXEL_DATA),
        ({"rows": 0}, Reason.NO_PIXEL_DATA),
        ({"columns": 0}, Reason.NO_PIXEL_DATA),
        ({"frames": -1}, Reason.NO_PIXEL_DATA),
        ({"rows": 65535, "columns": 20000}, Reason.TOO_LARGE),
        ({"frames": 65}, Reason.TOO_LARGE),
        ({"rows": 256}, Reason.ASPECT_OUT_OF_RANGE),
        ({"columns": 1024}, Reason.ASPECT_OUT_OF_RANGE),
        ({"columns": 100}, Reason.ASPECT_OUT_OF_RANGE),
        ({"rows": 899, "columns": 500}, Reason.ASPECT_OUT_OF_RANGE),
        ({"rows": 1201, "columns": 200}, Reason.ASPECT_OUT_OF_RANGE),
        ({"rows": 64, "columns": 16, "frames": 4097}, Reason.TOO_LARGE),
        ({"high_bit": 14}, Reason.INVALID_BITS),
        ({"bits_stored": 0}, Reason.INVALID_BITS),
        ({"pixel_data": PixelData(2000, 1 << 20, is_complete=False)}, Reason.TRUNCATED_PIXEL_DATA),
        ({"pixel_data": PixelData(2000, (1 << 20) - 2, is_complete=True)}, Reason.TRUNCATED_PIXEL_DATA),
        (
            {"transfer_syntax": "1.2.840.10008.1.2.5", "pixel_data": PixelData(2000, -1, is_complete=False)},
            Reason.TRUNCATED_PIXEL_DATA,
        ),
        ({"high_bit": 0}, Reason.INVALID_BITS),
        ({"bits_stored": 12, "high_bit": 10}, Reason.INVALID_BITS),
        ({"bits_stored": 12, "high_bit": 16}, Reason.INVALID_BITS),
        ({"bits_stored": 17, "high_bit": 16}, Reason.INVALID_BITS),
        ({"bits_stored": -1, "high_bit": 0}, Reason.INVALID_BITS),
        ({"bits_allocated": 12, "bits_stored": 12, "high_bit": 11}, Reason.INVALID_BITS),
        ({"bits_allocated": 65535, "bits_stored": 16}, Reason.INVALID_BITS),
        ({"detector_vector": (1,)}, Reason.DETECTOR_VECTOR_MISMATCH),
        ({"detector_vector": (1, 2, 1)}, Reason.DETECTOR_VECTOR_MISMATCH),
        ({"energy_window_vector": (1, 1, 1)}, Reason.DETECTOR_VECTOR_MISMATCH),
        ({"energy_window_vector": (1,), "energy_windows": (PHOTOPEAK, SCATTER)}, Reason.DETECTOR_VECTOR_MISMATCH),
    ],
)
def test_a_defect_is_found_in_the_header(changes: dict[str, Any], reason: Reason) -> None:
    verdict = find_defect(header(**changes), MAX_PIXELS)

    assert verdict is not None
    assert verdict.reason is reason
    assert verdict.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"detector_vector": (), "energy_window_vector": ()},
        {"energy_window_vector": (1,)},
        {"energy_window_vector": (1,), "energy_windows": ()},
        {"transfer_syntax": "1.2.840.10008.1.2.5", "pixel_data": PixelData(2000, -1, is_complete=True)},
        {"transfer_syntax": "1.2.840.10008.1.2.1.99", "pixel_data": PixelData(-1, -1, is_complete=True)},
        {
            "bits_allocated": 8,
            "bits_stored": 8,
            "high_bit": 7,
            "pixel_data": PixelData(2000, 1 << 19, is_complete=True),
        },
        {"bits_allocated": 32, "pixel_data": PixelData(2000, 1 << 21, is_complete=True)},
        {"bits_stored": 10, "high_bit": 15},
        {"bits_stored": 10, "high_bit": 12},
        {"bits_stored": 1, "high_bit": 0},
        {"rows": 900, "columns": 500, "pixel_data": PixelData(2000, 900 * 500 * 4, is_complete=True)},
        {"rows": 1200, "columns": 200},
        {
            "rows": 64,
            "columns": 16,
            "frames": 4096,
            "detector_vector": (),
            "energy_window_vector": (),
            "pixel_data": PixelData(2000, 64 * 16 * 4096 * 2, is_complete=True),
        },
    ],
    ids=str,
)
def test_a_sound_object_has_no_defect(changes: dict[str, Any]) -> None:
    assert find_defect(header(**changes), MAX_PIXELS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"image_type": (), "rows": 256, "columns": 1024},
        {"image_type": (), "rows": 64, "columns": 256, "descriptions": ("WHOLE BODY",)},
        {"image_type": (), "rows": 1024, "columns": 1024, "descriptions": ("whole-body bone",)},
        {**STATIC, "rows": 256, "columns": 1024, "whole_body_technique": "1PS"},
    ],
    ids=str,
)
def test_a_whole_body_object_of_another_shape_is_not_skipped_but_fails(changes: dict[str, Any]) -> None:
    found = header(**changes)

    verdict = find_defect(found, MAX_PIXELS)

    assert decline(found) is None
    assert verdict is not None
    assert (verdict.reason, verdict.status) == (Reason.ASPECT_OUT_OF_RANGE, Status.FAILED)


@pytest.mark.parametrize("modality", ["", "NM", "nm", "OT", "CT", "PT", "SR", "SC", "XX"])
@pytest.mark.parametrize("sop_class", [None, NM, CT, SECONDARY_CAPTURE])
def test_an_object_of_which_only_an_outline_is_read_is_always_declined(modality: str, sop_class: str | None) -> None:
    is_read = may_be_scan(modality, sop_class or "")

    assert is_read or decline(header(modality=modality, sop_class=sop_class)) is not None


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("modality", ["nm", " NM", "OT", "CT"])
def test_the_modality_of_an_object_in_the_class_of_nuclear_medicine_keeps_nothing_out(modality: str) -> None:
    heads = [item(StartAngle=180), item(StartAngle=0)]

    event = fate(encode(dataset(Modality=modality, DetectorInformationSequence=heads)))

    assert isinstance(event, Examination)
    assert reason_of(event) is None


@pytest.mark.parametrize(("limit", "is_too_large"), [(1024 * 256 * 2, False), (1024 * 256 * 2 - 1, True)])
def test_the_limit_of_pixels_counts_all_frames(limit: int, is_too_large: bool) -> None:
    assert (find_defect(header(), limit) is not None) is is_too_large


@pytest.mark.parametrize(
    ("windows", "vector", "expected"),
    [
        ((), (), (1, 2)),
        ((), (1, 1), (1, 2)),
        ((), (1, 2), Reason.AMBIGUOUS_ENERGY_WINDOW),
        (((),), (1, 1), (1, 2)),
        ((PHOTOPEAK,), (1, 1), (1, 2)),
        ((PHOTOPEAK,), (), (1, 2)),
        ((((140.0, 140.0),),), (), (1, 2)),
        ((((80.0, 100.0), (130.0, 150.0)),), (1, 1), (1, 2)),
        ((SCATTER,), (1, 1), Reason.WRONG_ISOTOPE_WINDOW),
        ((UNREADABLE,), (1, 1), Reason.ENERGY_WINDOW_UNREADABLE),
        ((UNREADABLE + PHOTOPEAK,), (1, 1), (1, 2)),
        ((UNREADABLE, PHOTOPEAK), (1, 1, 2, 2), (3, 4)),
        ((UNREADABLE, SCATTER), (1, 1, 2, 2), Reason.ENERGY_WINDOW_UNREADABLE),
        ((PHOTOPEAK, IODINE), (2, 2), Reason.WRONG_ISOTOPE_WINDOW),
        ((PHOTOPEAK, UNREADABLE), (2, 2), Reason.ENERGY_WINDOW_UNREADABLE),
        ((PHOTOPEAK, PHOTOPEAK), (2, 2), (1, 2)),
        ((PHOTOPEAK, ()), (2, 2), (1, 2)),
        (((), SCATTER), (1, 1, 2, 2), Reason.AMBIGUOUS_ENERGY_WINDOW),
        ((PHOTOPEAK, SCATTER), (0, 0), Reason.AMBIGUOUS_ENERGY_WINDOW),
        ((PHOTOPEAK, SCATTER), (3, 3), Reason.AMBIGUOUS_ENERGY_WINDOW),
        ((SCATTER, ((350.0, 380.0),)), (1, 2), Reason.WRONG_ISOTOPE_WINDOW),
        ((PHOTOPEAK, SCATTER), (1, 1, 2, 2), (1, 2)),
        ((SCATTER, PHOTOPEAK), (1, 1, 2, 2), (3, 4)),
        ((SCATTER, PHOTOPEAK), (2, 1, 2, 1), (1, 3)),
        ((PHOTOPEAK, ((130.0, 150.0),)), (1, 1, 2, 2), Reason.AMBIGUOUS_ENERGY_WINDOW),
        ((PHOTOPEAK, SCATTER), (), Reason.AMBIGUOUS_ENERGY_WINDOW),
    ],
)
def test_the_frames_of_the_window_that_contains_140_kev_are_chosen(
    windows: tuple[tuple[EnergyRange | None, ...], ...], vector: tuple[int, ...], expected: tuple[int, ...] | Reason
) -> None:
    frames = len(vector) or 2

    found = photopeak_frames(header(frames=frames, energy_windows=windows, energy_window_vector=vector))

    assert found == expected


@pytest.mark.parametrize("windows", [(IODINE,), (UNREADABLE,), (PHOTOPEAK, IODINE)])
def test_any_window_will_do_on_request_if_all_frames_come_from_it(
    windows: tuple[tuple[EnergyRange | None, ...], ...],
) -> None:
    number = len(windows)

    found = header(energy_windows=windows, energy_window_vector=(number, number))

    assert photopeak_frames(found, any_window=True) == (1, 2)
    assert isinstance(photopeak_frames(found), Reason)


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A source in memory."""

    files: dict[str, bytes] = field(default_factory=dict)
    heads_at_once: int = 16

    def __iter__(self) -> Iterator[ObjectRef]:
        for name, data in self.files.items():
            yield ObjectRef(name, name, len(data), "1")

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        return [self.files[ref.source][:count] for ref in refs]

    def file(self, _ref: ObjectRef) -> None:
        """No object is a file."""

    def open(self, ref: ObjectRef) -> BytesIO:
        return BytesIO(self.files[ref.source])


def fate(data: bytes, selection: Selection = SELECTION) -> Examination | SettledObject:
    intake = Intake(MemorySource({"a.dcm": data}), selection, Catalog(), Telemetry(), Isolation(), threads=1)
    (unit,) = intake.units(8, None)
    events: list[Examination | SettledObject] = [*unit.exams, *unit.settled]
    return events[0]


def reason_of(event: Examination | SettledObject) -> Reason | None:
    verdict = event.defect if isinstance(event, Examination) else event.verdict
    return verdict.reason if verdict is not None else None


def two_windows() -> list[Any]:
    return [
        item(EnergyWindowRangeSequence=[item(EnergyWindowLowerLimit=low, EnergyWindowUpperLimit=high)])
        for low, high in ((126, 154), (92, 125))
    ]


def test_a_short_vector_on_an_object_with_another_defect_raises_no_error() -> None:
    data = encode(dataset(EnergyWindowVector=[1], EnergyWindowInformationSequence=two_windows()))

    assert reason_of(fate(data[:-10])) in {Reason.TRUNCATED_PIXEL_DATA, Reason.DETECTOR_VECTOR_MISMATCH}


def iodine(lower: float = 135.1, upper: float = 182.9) -> bytes:
    """An I-123 scan whose window holds 140 keV."""
    nuclide = item(CodeValue="C-114A4", CodingSchemeDesignator="SRT", CodeMeaning="^123^Iodine")
    window = item(EnergyWindowRangeSequence=[item(EnergyWindowLowerLimit=lower, EnergyWindowUpperLimit=upper)])
    return encode(
        dataset(
            RadiopharmaceuticalInformationSequence=[item(RadionuclideCodeSequence=[nuclide])],
            EnergyWindowInformationSequence=[window],
            DetectorInformationSequence=[item(StartAngle=180), item(StartAngle=0)],
        )
    )


def test_a_scan_of_another_radionuclide_fails_even_if_its_window_holds_140_kev() -> None:
    event = fate(iodine())

    assert isinstance(event, Examination)
    assert reason_of(event) is Reason.OTHER_RADIONUCLIDE
    assert event.scans[0].tracer.radionuclide == "I-123"


def test_the_window_that_turns_a_scan_down_is_the_reason() -> None:
    assert reason_of(fate(iodine(327.6, 400.4))) is Reason.WRONG_ISOTOPE_WINDOW


@pytest.mark.parametrize("limits", [(135.1, 182.9), (327.6, 400.4)])
def test_any_tracer_is_used_on_request_and_noticed(limits: tuple[float, float]) -> None:
    event = fate(iodine(*limits), Selection(tracer=TracerRule.ANY))

    assert isinstance(event, Examination)
    assert reason_of(event) is None
    assert event.scans[0].tracer.is_other


def test_a_window_without_140_kev_is_noticed_if_any_tracer_is_used() -> None:
    window = item(EnergyWindowRangeSequence=[item(EnergyWindowLowerLimit=327, EnergyWindowUpperLimit=400)])
    data = encode(dataset(EnergyWindowInformationSequence=[window]))

    event = fate(data, Selection(tracer=TracerRule.ANY))

    assert isinstance(event, Examination)
    assert event.scans[0].tracer.is_other


def test_the_tracer_of_single_views_is_kept_while_they_wait_for_each_other() -> None:
    drug = item(Radiopharmaceutical="Tc-99m MDP", RadiopharmaceuticalStartTime="071500")
    files = {
        f"{angle}.dcm": encode(
            dataset(
                counts(1),
                SOPInstanceUID=f"1.2.3.4.{angle}",
                AcquisitionTime="101500",
                DetectorInformationSequence=[item(StartAngle=angle)],
                RadiopharmaceuticalInformationSequence=[drug],
            )
        )
        for angle in (180, 0)
    }
    intake = Intake(MemorySource(files), SELECTION, Catalog(), Telemetry(), Isolation(), threads=1)

    (unit,) = intake.units(8, None)

    assert [scan.tracer for exam in unit.exams for scan in exam.scans] == [Tracer("Tc-99m", "MDP", 180.0)] * 2


def test_an_object_without_a_frame_fails_and_is_not_lateral() -> None:
    assert reason_of(fate(encode(dataset(NumberOfFrames=-1, DetectorVector=None)))) is Reason.NO_PIXEL_DATA


def test_a_huge_matrix_in_the_header_is_rejected_before_any_allocation() -> None:
    data = encode(dataset(NumberOfFrames=50_000, Rows=65535, Columns=16384, DetectorVector=None))
    fate(data)
    tracemalloc.start()

    event = fate(data)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason_of(event) is Reason.TOO_LARGE
    assert peak < 2**20
