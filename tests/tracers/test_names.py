"""Nuclides and pharmaceuticals are recognised in the spellings and languages of real headers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.tracers.names import BONE_TRACERS, OTHER, nuclides_in, pharmaceutical_of_text

SPELLINGS = {
    "Tc-99m": "^99m^Technetium|99mTc|Tc99m|TC-99M|Technetium-99m|Tecnecio 99m|99m-Tc|[99mTc]|technetium|Tc|Tc-99m MDP",
    "I-131": "^131^Iodine|I-131|131I|131-I|I 131|Iod 131|Jod-131|J-131|iode131|Yodo 131|[131I]NaI",
    "I-123": "^123^Iodine|123I-MIBG|I123|Iodo-123",
    "In-111": "^111^Indium|In-111|111In|Indio 111",
    "Ga-67": "67Ga citrate|Gallium 67|GA67",
    "Tl-201": "Tl-201|201Tl|Thallium-201",
    "F-18": "F-18 FDG|18F|^18^Fluorine",
    "Lu-177": "177Lu-PSMA|Lutetium 177",
    "Sm-153": "Sm153|153-Sm-EDTMP",
    "Ra-223": "Ra-223",
    "Kr-81m": "^81m^Krypton|Kr81m",
    "In": "INDIUM",
}
PHARMACEUTICALS = {
    "MDP": "MDP|Tc-99m MDP|MDP-Tc99m|TC99MMDP|Tc99MDP|medronate|ácido medrónico|Methylendiphosphonat|metilendifosfonato"
    "|Technetium Tc^99m^ medronate|MDP 25 mCi",
    "HDP": "HDP|HMDP|Technetium (99mTc) oxidronate|oxidronato|Hydroxymethylene diphosphonate|TechneScan HDP",
    "DPD": "DPD|dicarboxypropane diphosphonate|Teceos|butedronate",
    "HEDP": "HEDP|etidronate|hydroxyethylidene diphosphonate",
    "PYP": "PYP|pirofosfato|pyrophosphate|pyrophosphat",
    "sestamibi": "sestamibi|MIBI|TC99MMIBI",
    "octreotide": "HYNIC-TOC|Tektrotyd",
    "pertechnetate": "pertechnetate|Natriumpertechnetat|pertecnetato|pertechnétate",
    "colloid": "sulfur colloid|Nanokolloid|coloide",
    "leukocytes": "WBC|99mTc-Leukozyten|leucocytes",
    "MIBG": "I 123 MIBG|iobenguane",
}


@pytest.mark.parametrize(
    ("text", "name"), [(text, name) for name, texts in SPELLINGS.items() for text in texts.split("|")]
)
def test_a_nuclide_is_recognised(text: str, name: str) -> None:
    assert nuclides_in(text) == {name}


@pytest.mark.parametrize(
    "text", ["MDP", "", "HDP 20 mCi", "kit lot 131", "in 3 hours", "bone", "sodium iodide", "P32 ROOM 4", "Fe", "A 99"]
)
def test_no_nuclide_is_read_into_other_texts(text: str) -> None:
    assert nuclides_in(text) == frozenset()


@pytest.mark.parametrize(
    ("text", "name"), [(text, name) for name, texts in PHARMACEUTICALS.items() for text in texts.split("|")]
)
def test_a_pharmaceutical_is_recognised(text: str, name: str) -> None:
    assert pharmaceutical_of_text(text) == name


@pytest.mark.parametrize(
    "text", ["", "Tc-99m", "99mTc 740 MBq", "Bone agent", "whole body bone scan", "N/A", "UNKNOWN"]
)
def test_a_text_that_names_no_pharmaceutical_gives_none(text: str) -> None:
    assert pharmaceutical_of_text(text) is None


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=30))
def test_no_free_text_gets_through(text: str) -> None:
    name = pharmaceutical_of_text(text)

    assert name is None or name == OTHER or name in BONE_TRACERS or pharmaceutical_of_text(name) == name
