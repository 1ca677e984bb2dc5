"""Field cases of what a header says: tracer, energy window, kind of object and views. All of them in one archive."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from tests.end_to_end.field_cases import (
    TC_99M,
    Found,
    Make,
    archive_fixture,
    assert_same_row,
    code,
    counts,
    register,
    scan,
    tracer,
    window,
)

CASES: dict[str, Make] = {}
case = register(CASES)


found = archive_fixture(CASES)


@case
def plain() -> FileDataset:
    return scan("plain", counts(1))


def drug(*items: Dataset) -> dict[str, Any]:
    return {"RadiopharmaceuticalInformationSequence": list(items)}


@case
def iodine_with_commas() -> FileDataset:
    drugs = [tracer("I-131 NaI", ("C-114B1", "SRT", "Iodine 131"))]
    return scan("iodine", counts(1), EnergyWindowInformationSequence=[window("327,6", "400,4")], **drug(*drugs))


@case
def iodine_in_a_wide_window() -> FileDataset:
    drugs = drug(tracer("I-123 MIBG", ("C-114A4", "SRT", "Iodine 123")))
    return scan("wide", counts(1), EnergyWindowInformationSequence=[window("135.1", "182.9")], **drugs)


@case
def iodine_in_words() -> FileDataset:
    return scan("words", counts(1), **drug(tracer("NaI I-131 capsule")))


@case
def frames_of_iodine() -> FileDataset:
    windows = [window("126", "154"), window("327.6", "400.4")]
    return scan(
        "frames",
        counts(1),
        EnergyWindowInformationSequence=windows,
        EnergyWindowVector=[2, 2],
        NumberOfEnergyWindows=2,
    )


@case
def limits_without_energies() -> FileDataset:
    return scan("limits", counts(1), EnergyWindowInformationSequence=[window("LOW", "HIGH")])


@case
def octreotide() -> FileDataset:
    return scan("octreotide", counts(1), **drug(tracer("Tc-99m EDDA/HYNIC-TOC", TC_99M)))


@case
def pool_by_time() -> FileDataset:
    return scan("pool", counts(1), **drug(tracer("Tc-99m MDP", TC_99M, start="101100")))


@case
def pool_by_words() -> FileDataset:
    return scan("words of pool", counts(1), SeriesDescription="WB BLOOD POOL")


NUCLIDES = ("Ga-67 citrate", "Tl201", "Jod-131", "131J", "18F-NaF", "In111 pentetreotide", "I-123 MIBG", "Sm-153 EDTMP")
BONE_TRACERS = ("MDP", "Tc99m HDP", "HMDP 740 MBq", "99mTc-DPD", "Technescan HDP", "Medronat", "metilendifosfonato")
CASES |= {text: partial(scan, text, counts(1), **drug(tracer(text))) for text in NUCLIDES + BONE_TRACERS}


@pytest.mark.parametrize("name", NUCLIDES)
def test_a_nuclide_in_words_alone_is_turned_down(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": ("failed", "other_radionuclide")}


@pytest.mark.parametrize("name", BONE_TRACERS)
def test_a_bone_tracer_in_any_spelling_is_scored_without_a_flag(found: dict[str, Found], name: str) -> None:
    assert found[name].flags == found["plain"].flags
    assert found[name].scored["radiopharmaceutical"] in {"MDP", "HDP", "DPD"}


@case
def iodine_in_a_window_of_no_width() -> FileDataset:
    return scan("no width", counts(1), EnergyWindowInformationSequence=[window("364", "364")])


def test_two_equal_limits_far_from_technetium_are_no_bone_scan(found: dict[str, Found]) -> None:
    assert not found["iodine_in_a_window_of_no_width"].pairs


@case
def window_of_zeros() -> FileDataset:
    return scan("zeros", counts(1), EnergyWindowInformationSequence=[window("0", "0")])


@case
def window_with_units() -> FileDataset:
    return scan("units", counts(1), EnergyWindowInformationSequence=[window("126 keV", "1,54E2")])


@case
def window_of_scatter_beside() -> FileDataset:
    windows = [window("92", "125"), window("126", "154")]
    vectors: dict[str, Any] = {
        "EnergyWindowVector": [1, 1, 2, 2],
        "DetectorVector": [1, 2, 1, 2],
        "NumberOfEnergyWindows": 2,
    }
    frames = np.concatenate([counts(2), counts(1)])
    return scan("scatter", frames, views="APAP", EnergyWindowInformationSequence=windows, **vectors)


@case
def window_with_commas() -> FileDataset:
    return scan("commas", counts(1), EnergyWindowInformationSequence=[window("126,45", "154,55")])


@case
def window_reversed() -> FileDataset:
    return scan("reversed", counts(1), EnergyWindowInformationSequence=[window("154", "126")])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("iodine_with_commas", "wrong_isotope_window"),
        ("iodine_in_a_wide_window", "other_radionuclide"),
        ("iodine_in_words", "other_radionuclide"),
        ("frames_of_iodine", "wrong_isotope_window"),
        ("limits_without_energies", "energy_window_unreadable"),
        ("window_of_zeros", "energy_window_unreadable"),
    ],
)
def test_another_nuclide_is_turned_down_with_a_true_reason(found: dict[str, Found], name: str, reason: str) -> None:
    assert found[name].files == {"a": ("failed", reason)}


@pytest.mark.parametrize(
    ("name", "flag"),
    [("octreotide", "other_tracer"), ("pool_by_time", "early_phase"), ("pool_by_words", "early_phase")],
)
def test_another_pharmaceutical_or_phase_is_flagged(found: dict[str, Found], name: str, flag: str) -> None:
    assert found[name].flags - found["plain"].flags == {flag}


@case
def modality_ot() -> FileDataset:
    return scan("OT", counts(1), Modality="OT")


@case
def modality_in_lower_case() -> FileDataset:
    return scan("lower case", counts(1), Modality="ot")


@case
def static_whole_body() -> FileDataset:
    kind = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    return scan("static", counts(1), ImageType=kind, SeriesDescription="WHOLE BODY BONE")


@case
def static_with_technique() -> FileDataset:
    kind = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    return scan("technique", counts(1), ImageType=kind, SeriesDescription="BONE", WholeBodyTechnique="1PS")


@case
def vector_of_one_value() -> FileDataset:
    return scan("vector", counts(1), EnergyWindowVector=1)


@case
def small_matrix() -> FileDataset:
    small = np.ascontiguousarray(counts(1)[:, ::2, ::2])
    return scan("small", small, ImageType=None, SeriesDescription="BONE")


def test_a_small_matrix_without_image_type_is_not_skipped(found: dict[str, Found]) -> None:
    assert found["small_matrix"].files["a"][0] != "skipped"


@case
def tomography() -> FileDataset:
    return scan("tomo", counts(1), ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])


def test_a_tomography_is_still_skipped(found: dict[str, Found]) -> None:
    assert found["tomography"].files == {"a": ("skipped", "not_whole_body")}


@case
def codes_against_angles() -> FileDataset:
    dataset = scan("angles", counts(1))
    for head, angle in zip(dataset.DetectorInformationSequence, (0, 180), strict=True):
        head.StartAngle = angle
    return dataset


@case
def codes_against_private_labels() -> FileDataset:
    dataset = scan("labels", counts(1))
    block = dataset.private_block(0x0011, "GEMS_GENIE_1", create=True)
    for element in (0x12, 0x30):
        block.add_new(element, "LO", ["POST", "ANT"])
    return dataset


@case
def transposed() -> FileDataset:
    return scan("transposed", np.ascontiguousarray(counts(1).swapaxes(1, 2)))


def test_a_transposed_matrix_fails_aloud(found: dict[str, Found]) -> None:
    assert found["transposed"].files == {"a": ("failed", "aspect_out_of_range")}


@case
def codes_of_one_view() -> FileDataset:
    dataset = scan("codes", counts(1))
    both = [code("399321004", "SCT", "Anterior"), code("399001007", "SCT", "Posterior")]
    dataset.DetectorInformationSequence[0].ViewCodeSequence = both
    return dataset


def test_codes_that_contradict_each_other_still_fail(found: dict[str, Found]) -> None:
    assert found["codes_of_one_view"].files == {"a": ("failed", "view_conflict")}


SAME = (
    "window_with_commas",
    "window_with_units",
    "window_reversed",
    "window_of_scatter_beside",
    "modality_ot",
    "modality_in_lower_case",
    "static_whole_body",
    "static_with_technique",
    "vector_of_one_value",
    "codes_against_angles",
    "codes_against_private_labels",
)


@pytest.mark.parametrize("name", SAME)
def test_a_bone_scan_in_other_words_has_the_row_of_the_plain_one(found: dict[str, Found], name: str) -> None:
    assert_same_row(found[name], found["plain"])
