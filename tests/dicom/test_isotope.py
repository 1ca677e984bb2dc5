"""The tracer is identified from codes and from the spellings of real headers, and times are no guesses."""

from typing import Any

import pytest
from tests.dicom.objects import dataset, encode, header, item, read

from bsbatch.dicom.isotope import identify, is_other_nuclide
from bsbatch.tracers.record import Drug, Tracer

NOTHING = Drug((), (), (), (), None, None)
MDP = NOTHING._replace(nuclide_codes=("C-163A8",), texts=("Tc-99m MDP",))


def drug(**changes: Any) -> Drug:
    return NOTHING._replace(**changes)


def found(*drugs: Drug, **changes: Any) -> Tracer:
    return identify(header(drugs=drugs, **changes))


def minutes(start: str | None = None, moment: str | None = None, **changes: Any) -> float | None:
    return found(MDP._replace(start_time=start, start_datetime=moment), **changes).minutes


@pytest.mark.parametrize(
    ("code", "nuclide"),
    [("C-163A8", "Tc-99m"), ("72454006", "Tc-99m"), ("C-114B1", "I-131"), ("C-114A4", "I-123"), ("C-145A4", "In-111")],
)
def test_a_code_names_the_nuclide(code: str, nuclide: str) -> None:
    assert found(drug(nuclide_codes=(code,))).radionuclide == nuclide


def test_a_code_is_stronger_than_its_meaning_and_that_than_the_pharmaceutical() -> None:
    texts = {"nuclide_texts": ("^123^Iodine",), "texts": ("In-111 pentetreotide",)}

    assert found(drug(nuclide_codes=("C-114B1",), **texts)).radionuclide == "I-131"
    assert found(drug(**texts)).radionuclide == "I-123"
    assert found(drug(texts=("In-111 pentetreotide",))).radionuclide == "In-111"


@pytest.mark.parametrize("name", ["FDG", "I-131 NaI", "MIBG", "DaTSCAN", "67Ga citrate"])
def test_a_pharmaceutical_of_another_nuclide_is_another_nuclide(name: str) -> None:
    assert is_other_nuclide(found(drug(texts=(name,))))


@pytest.mark.parametrize("drugs", [(), (NOTHING,), (drug(nuclide_texts=("xyz",)),), (drug(texts=("Bone agent",)),)])
def test_a_header_that_names_no_tracer_is_not_suspected(drugs: tuple[Drug, ...]) -> None:
    assert found(*drugs) == Tracer()


@pytest.mark.parametrize(
    ("name", "pharmaceutical", "is_other"),
    [
        ("Tc-99m MDP", "MDP", False),
        ("oxidronate", "HDP", False),
        ("Tc-99m EDDA/HYNIC-TOC", "octreotide", True),
        ("sestamibi", "sestamibi", True),
        ("PYP red cells", "red cells", True),
        ("Miller, Jane", "other", True),
        ("Tc-99m", None, False),
    ],
)
def test_another_pharmaceutical_than_a_bone_tracer_is_noticed(
    name: str, pharmaceutical: str | None, is_other: bool
) -> None:
    tracer = found(drug(nuclide_codes=("C-163A8",), texts=(name,)))

    assert (tracer.radiopharmaceutical, tracer.is_other) == (pharmaceutical, is_other)


@pytest.mark.parametrize("text", ["MIBG WB 24H", "OCTREOTIDE WB", "WB I-131", "Leukocyte WB", "SESTAMIBI"])
def test_a_description_of_another_tracer_is_noticed_unless_a_bone_tracer_is_given(text: str) -> None:
    assert found(descriptions=(text,)).is_other
    assert found(drug(nuclide_texts=("Tc-99m",)), descriptions=(text,)).is_other
    assert not found(MDP, descriptions=(text,)).is_other


@pytest.mark.parametrize(
    "text", ["WB BONE MDP", "WHOLE BODY", "WB F 18Y", "IN 3H", "R/O LEUKEMIA", "Skelett HDP", "FLORIDA"]
)
def test_a_description_of_a_bone_scan_is_not_suspected(text: str) -> None:
    assert found(descriptions=(text,)) == Tracer()


def test_a_code_of_tc_99m_beside_the_name_of_another_nuclide_is_noticed() -> None:
    tracer = found(drug(nuclide_codes=("C-163A8",), texts=("I-131 MDP",)))

    assert (tracer.radionuclide, tracer.is_other) == ("Tc-99m", True)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("other", [drug(nuclide_texts=("I-131",)), NOTHING, drug(texts=("DTPA",))])
def test_of_several_drugs_the_bone_tracer_counts(other: Drug, order: int) -> None:
    tracer = found(*(MDP, other)[::order])

    assert (tracer.radionuclide, tracer.radiopharmaceutical, tracer.is_other) == ("Tc-99m", "MDP", False)


@pytest.mark.parametrize("names", [("I-131", "Tc-99m"), ("Tc-99m", "I-131"), ("Tc-99m and Tl-201",)])
def test_tc_99m_counts_among_several_nuclides(names: tuple[str, ...]) -> None:
    assert found(drug(nuclide_texts=names)).radionuclide == "Tc-99m"


def test_of_several_other_nuclides_the_first_by_name_is_the_same_in_any_order() -> None:
    assert found(drug(nuclide_texts=("Tl-201", "I-131"))).radionuclide == "I-131"


def test_a_named_nuclide_counts_more_than_another_pharmaceutical_of_an_unknown_one() -> None:
    assert found(drug(texts=("DTPA",)), drug(nuclide_texts=("I-131",))).radionuclide == "I-131"


def test_an_empty_item_beside_another_nuclide_does_not_excuse_it() -> None:
    assert is_other_nuclide(found(NOTHING, drug(nuclide_texts=("I-131",))))


@pytest.mark.parametrize(
    ("start", "scan", "expected"),
    [
        ("081500", "101500", 120.0),
        ("08:15:00", "101500.000", 120.0),
        ("0815", "101530", 120.5),
        ("101500", "101530", 0.5),
        ("230000", "013000", 150.0),
        ("221500", "101500", 720.0),
        ("221400", "101500", None),
        ("101500", "101500", None),
        ("102000", "101500", None),
        ("000000.00", "101500", None),
        ("081500", None, None),
        ("morning", "101500", None),
        ("", "101500", None),
    ],
)
def test_minutes_are_counted_over_midnight_once(start: str, scan: str | None, expected: float | None) -> None:
    assert minutes(start, acquisition_time=scan) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("20200102081500", 120.0),
        ("20200101101500.00+0100", 1440.0),
        ("20191226101500", 10_080.0),
        ("20191226101400", None),
        ("20200102111500", None),
        ("19000101000000", None),
        ("20201301081500", None),
    ],
)
def test_a_date_of_injection_counts(moment: str, expected: float | None) -> None:
    assert minutes(None, moment) == expected


@pytest.mark.parametrize(
    ("text", "is_early"),
    [
        ("WB BLOOD POOL", True),
        ("Bone Flow", True),
        ("Ganzkörper Frühphase", True),
        ("WB early", True),
        ("PHASE 2", True),
        ("3 PHASE BONE", False),
        ("BLOOD POOL + DELAYED", False),
        ("WHOLE BODY", False),
        ("FLOWERS HOSPITAL DELAYED", False),
    ],
)
def test_a_description_names_an_early_phase(text: str, is_early: bool) -> None:
    assert found(descriptions=(text,)).is_early is is_early


@pytest.mark.parametrize(("start", "is_early"), [("101100", True), ("084600", True), ("084400", False)])
def test_less_than_90_minutes_after_the_injection_is_early(start: str, is_early: bool) -> None:
    assert found(MDP._replace(start_time=start)).is_early is is_early


def test_the_retired_attributes_at_the_root_are_read() -> None:
    tracer = identify(read(encode(dataset(Radionuclide="99mTc", Radiopharmaceutical="Tc-99m HDP"))))

    assert (tracer.radionuclide, tracer.radiopharmaceutical) == ("Tc-99m", "HDP")


def test_the_sequence_is_read() -> None:
    nuclide = item(CodeValue="C-114B1", CodingSchemeDesignator="SRT", CodeMeaning="^131^Iodine")
    taken = item(Radiopharmaceutical="NaI", RadionuclideCodeSequence=[nuclide], RadiopharmaceuticalStartTime="0815")
    tracer = identify(read(encode(dataset(RadiopharmaceuticalInformationSequence=[taken], AcquisitionTime="101500"))))

    assert tracer == Tracer("I-131", "iodide", 120.0, is_other=True, is_early=False)


@pytest.mark.parametrize(
    ("texts", "pharmaceutical"),
    [
        (("Smith",), "other"),
        (("Smith", "DTPA"), "pentetate"),
        (("DTPA", "Smith"), "pentetate"),
        (("Smith", "DTPA", "HDP"), "HDP"),
        (("DTPA", "sestamibi"), "pentetate"),
    ],
)
def test_of_several_names_a_bone_tracer_counts_then_one_of_ours(texts: tuple[str, ...], pharmaceutical: str) -> None:
    tracer = found(drug(texts=texts))
    assert (tracer.radiopharmaceutical, tracer.is_other) == (pharmaceutical, pharmaceutical != "HDP")


def test_of_several_drugs_that_of_technetium_counts_then_one_of_another_nuclide_then_one_without() -> None:
    ranked = [
        drug(nuclide_texts=("Tc-99m",), texts=("HDP",)),
        drug(nuclide_texts=("Tc-99m",)),
        drug(nuclide_texts=("Tc-99m",), texts=("DTPA",)),
        drug(nuclide_texts=("I-131",)),
        drug(texts=("DTPA",)),
        NOTHING,
    ]
    for number, first in enumerate(ranked):
        for later in ranked[number + 1 :]:
            assert found(first, later) == found(later, first)
            assert found(first, later)[:2] == found(first)[:2]
