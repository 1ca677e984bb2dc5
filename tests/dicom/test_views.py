from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dicom.objects import header

from bsbatch.dicom.views import resolve, views_of_text, without_labels
from bsbatch.dicom.views import testify as hear
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Detector, EvidenceKind, FrameView, Header, View

A, P, LATERAL = View.ANTERIOR, View.POSTERIOR, View.LATERAL
CODES = {A: ("SCT", "399321004"), P: ("SCT", "399001007"), LATERAL: ("SCT", "399118008")}
WORDS = {A: "ANT", P: "POST", LATERAL: "LAT"}
ANGLES = {A: 180.0, P: 0.0, LATERAL: 90.0}
UNKNOWN = Detector(None, (), ())
KINDS = [kind for kind in EvidenceKind if kind is not EvidenceKind.ASSUMED_ORDER]


def one_frame(evidence: dict[EvidenceKind, View]) -> Header:
    """A single-frame object with only the given kinds of evidence."""
    words = {kind: (WORDS[view],) for kind, view in evidence.items()}
    angle, code = evidence.get(EvidenceKind.START_ANGLE), evidence.get(EvidenceKind.CODE)
    detector = Detector(
        ANGLES[angle] if angle else None, (CODES[code],) if code else (), words.get(EvidenceKind.MEANING, ())
    )
    private = words.get(EvidenceKind.PRIVATE)
    return header(
        frames=1,
        detector_vector=(1,),
        energy_window_vector=(1,),
        detectors=(detector,),
        private_labels=(private,) if private else (),
        view_position=words.get(EvidenceKind.VIEW_POSITION, ()),
        descriptions=words.get(EvidenceKind.DESCRIPTION, ()),
    )


def bare(frames: int = 2, **changes: Any) -> Header:
    """Frames without any evidence."""
    return header(**{"frames": frames, "detector_vector": (), "detectors": (UNKNOWN,) * frames, **changes})


def named(found: tuple[FrameView, ...] | Verdict) -> list[tuple[int, View, EvidenceKind]]:
    assert not isinstance(found, Verdict), found
    return [(item.frame, item.view, item.evidence) for item in found]


def refused(found: tuple[FrameView, ...] | Verdict) -> Reason:
    assert isinstance(found, Verdict), found
    assert found.stage is Stage.VIEWS
    return found.reason


def angled(*angles: float | None, **changes: Any) -> Header:
    return bare(len(angles), detectors=tuple(Detector(angle, (), ()) for angle in angles), **changes)


@pytest.mark.parametrize("view", [A, P, LATERAL])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_evidence_is_enough(kind: EvidenceKind, view: View) -> None:
    assert hear(one_frame({kind: view}), 1) == FrameView(1, view, kind)


@pytest.mark.parametrize("weakest", range(len(KINDS)))
def test_the_strongest_evidence_is_recorded(weakest: int) -> None:
    kinds = KINDS[weakest:]

    assert hear(one_frame(dict.fromkeys(kinds, P)), 1) == FrameView(1, P, kinds[0])


RANK = dict(zip(KINDS, (1, 1, 2, 3, 3, 4), strict=True))


@pytest.mark.parametrize(
    ("stronger", "weaker"), [pair for pair in combinations(KINDS, 2) if len({*map(RANK.get, pair)}) > 1]
)
def test_a_stronger_rank_of_evidence_decides_and_a_weaker_one_is_no_conflict(
    stronger: EvidenceKind, weaker: EvidenceKind
) -> None:
    assert hear(one_frame({stronger: A, weaker: P}), 1) == FrameView(1, A, stronger)
    assert hear(one_frame({stronger: P, weaker: LATERAL}), 1) == FrameView(1, P, stronger)


@pytest.mark.parametrize(
    ("one", "other"), [pair for pair in combinations(KINDS, 2) if len({*map(RANK.get, pair)}) == 1]
)
def test_two_kinds_of_one_rank_that_disagree_are_a_view_conflict(one: EvidenceKind, other: EvidenceKind) -> None:
    assert hear(one_frame({one: A, other: P}), 1) is Reason.VIEW_CONFLICT
    assert hear(one_frame({one: P, other: A}), 1) is Reason.VIEW_CONFLICT


def test_image_id_is_stronger_than_the_description_of_the_whole_series() -> None:
    assert hear(bare(1, image_ids=("ANT",), descriptions=("WB POST",)), 1) == FrameView(1, A, EvidenceKind.DESCRIPTION)


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({"manufacturer": "GE MEDICAL SYSTEMS"}, True),
        ({"manufacturer": "SMV"}, True),
        ({"manufacturer": "ACME", "private_labels": (("WHOLE BODY", "WHOLE BODY"),)}, True),
        ({"manufacturer": "ACME"}, False),
        ({"manufacturer": "GERMAN NUCLEAR"}, False),
        ({"manufacturer": None}, False),
    ],
    ids=str,
)
def test_a_suffix_of_a_description_counts_on_workstations_of_ge_only(changes: dict[str, Any], is_read: bool) -> None:
    found = hear(bare(1, descriptions=("BONE SCAN_F",), **changes), 1)

    assert (found == FrameView(1, P, EvidenceKind.DESCRIPTION)) is is_read


def test_equal_codes_of_both_frames_are_too_many_whatever_their_angles() -> None:
    detectors = tuple(Detector(angle, (CODES[A],), ()) for angle in (180.0, 0.0))

    assert refused(resolve(bare(detectors=detectors), (1, 2), assume_order=True)) is Reason.TOO_MANY_FRAMES


@pytest.mark.parametrize(
    "changes",
    [
        {"private_labels": (("ANT",), ("POST",))},
        {"descriptions": ("WB ANT", "WB POST")},
        {"detectors": (Detector(None, (CODES[A], CODES[P]), ()),)},
        {"detectors": (Detector(None, (), ("Anterior", "Posterior")),)},
        {"view_texts": ("Anterior", "PO")},
        {"detectors": (Detector(None, (), ("Anterior",)),), "view_texts": ("Posterior",)},
    ],
    ids=["private tags", "descriptions", "codes", "meanings", "root meanings", "meaning of detector and root"],
)
def test_two_pieces_of_one_kind_that_disagree_are_a_view_conflict(changes: dict[str, Any]) -> None:
    assert refused(resolve(bare(1, **changes), (1,), assume_order=False)) is Reason.VIEW_CONFLICT


def test_a_conflict_of_one_frame_is_not_resolved_by_the_other() -> None:
    found = angled(180.0, 0.0, view_position=("ANT", "ANT"))

    assert refused(resolve(found, (1, 2), assume_order=True)) is Reason.VIEW_CONFLICT


@pytest.mark.parametrize("scheme", ["SCT", "SRT", "SNM3", "99SDM"])
@pytest.mark.parametrize(
    ("code", "view"),
    [("399321004", A), ("399001007", P), ("G-5215", A), ("G-5216", P), ("G-5200", A), ("G-5201", P)],
)
def test_the_codes_of_cid_26_and_their_retired_ones_name_the_view(scheme: str, code: str, view: View) -> None:
    found = hear(bare(1, detectors=(Detector(None, ((scheme, code),), ()),)), 1)

    assert found == FrameView(1, view, EvidenceKind.CODE)


def test_a_code_of_an_unknown_scheme_is_no_evidence() -> None:
    assert hear(bare(1, detectors=(Detector(None, (("99NMG", "G-5215"),), ()),)), 1) is None


@pytest.mark.parametrize(
    ("code", "meaning", "view"), [("G-5200", "Antero-posterior", A), ("G-5201", "Postero-anterior", P)]
)
def test_the_retired_codes_agree_with_their_own_meanings(code: str, meaning: str, view: View) -> None:
    found = hear(bare(1, detectors=(Detector(None, (("SRT", code),), (meaning, code)),)), 1)

    assert found == FrameView(1, view, EvidenceKind.CODE)


def test_the_text_of_a_local_code_names_the_view() -> None:
    texts = (("Anterior", "AN"), ("Posterior", "PO"))
    detectors = tuple(Detector(None, (("99LOCAL", text[1]),), text) for text in texts)

    found = resolve(bare(detectors=detectors), (1, 2), assume_order=False)

    assert named(found) == [(1, A, EvidenceKind.MEANING), (2, P, EvidenceKind.MEANING)]


def test_a_view_code_at_the_root_names_the_view_of_a_single_frame_only() -> None:
    assert hear(bare(1, view_texts=("Anterior",)), 1) == FrameView(1, A, EvidenceKind.MEANING)
    assert hear(bare(2, view_texts=("Anterior",)), 1) is None


def test_labels_that_are_not_one_for_each_frame_are_no_evidence() -> None:
    found = bare(private_labels=(("WHOLE BODY_E",),), view_position=("ANT",), descriptions=("ANT",))

    assert hear(found, 1) is None


@pytest.mark.parametrize(
    ("angle", "view"),
    [
        *((angle, P) for angle in (0, 360, 720, -360, 45, 315)),
        *((angle, A) for angle in (180, -180, 540, 135, 225)),
        *((angle, LATERAL) for angle in (90, 270, -90, 46, 134)),
    ],
)
def test_the_start_angle_counts_from_the_back(angle: float, view: View) -> None:
    assert hear(angled(float(angle)), 1) == FrameView(1, view, EvidenceKind.START_ANGLE)


@pytest.mark.parametrize("last", [0.0, 360.0])
def test_the_two_heads_of_a_camera_are_anterior_and_posterior(last: float) -> None:
    found = resolve(angled(180.0, last), (1, 2), assume_order=False)

    assert named(found) == [(1, A, EvidenceKind.START_ANGLE), (2, P, EvidenceKind.START_ANGLE)]


def test_the_anterior_frame_is_returned_first() -> None:
    found = resolve(angled(0.0, 180.0), (1, 2), assume_order=False)

    assert named(found) == [(2, A, EvidenceKind.START_ANGLE), (1, P, EvidenceKind.START_ANGLE)]


def test_the_detector_vector_assigns_frames_to_detectors() -> None:
    found = resolve(angled(180.0, 0.0, detector_vector=(2, 1)), (1, 2), assume_order=False)

    assert named(found) == [(2, A, EvidenceKind.START_ANGLE), (1, P, EvidenceKind.START_ANGLE)]


def test_an_absent_detector_is_no_evidence() -> None:
    assert hear(angled(180.0, 0.0, detector_vector=(3, 0)), 1) is None


def test_detectors_without_a_vector_count_only_if_there_is_one_for_each_frame() -> None:
    header_of_one = bare(2, detectors=(Detector(180.0, (), ()),))

    assert hear(header_of_one, 1) is None


def test_the_frames_of_another_energy_window_are_ignored() -> None:
    detectors = (Detector(180.0, (), ()), Detector(0.0, (), ()))
    found = bare(4, detectors=detectors, detector_vector=(1, 2, 1, 2))

    assert [frame for frame, _, _ in named(resolve(found, (3, 4), assume_order=False))] == [3, 4]


def test_the_order_of_frames_is_not_assumed_by_default() -> None:
    assert refused(resolve(bare(), (1, 2), assume_order=False)) is Reason.VIEW_UNRESOLVED


def test_the_order_of_frames_is_recorded_as_evidence_on_request() -> None:
    found = resolve(bare(), (1, 2), assume_order=True)

    assert named(found) == [(1, A, EvidenceKind.ASSUMED_ORDER), (2, P, EvidenceKind.ASSUMED_ORDER)]


def test_evidence_is_stronger_than_the_order_of_frames() -> None:
    found = resolve(angled(0.0, 180.0), (1, 2), assume_order=True)

    assert named(found) == [(2, A, EvidenceKind.START_ANGLE), (1, P, EvidenceKind.START_ANGLE)]


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_an_order_is_assumed_for_two_frames_only(frames: int) -> None:
    found = resolve(bare(frames), tuple(range(1, frames + 1)), assume_order=True)

    assert refused(found) is Reason.VIEW_UNRESOLVED


@pytest.mark.parametrize("assume_order", [False, True])
def test_the_view_of_one_frame_is_no_evidence_for_the_other(assume_order: bool) -> None:
    found = resolve(angled(180.0, None), (1, 2), assume_order=assume_order)

    assert refused(found) is Reason.VIEW_UNRESOLVED


def test_a_single_named_frame_is_enough() -> None:
    assert named(resolve(angled(0.0), (1,), assume_order=False)) == [(1, P, EvidenceKind.START_ANGLE)]


@pytest.mark.parametrize("text", ["ANT/POST", "TOTAL BODY ANT POST", "Anterior & Posterior"])
def test_a_wide_single_frame_whose_label_names_both_views_is_composite(text: str) -> None:
    wide = bare(1, rows=1024, columns=512, descriptions=("BONE", text))
    narrow = bare(1, rows=1024, columns=256, descriptions=(text,))

    assert hear(wide, 1) is None
    assert refused(resolve(wide, (1,), assume_order=False)) is Reason.COMPOSITE_VIEWS
    assert refused(resolve(narrow, (1,), assume_order=False)) is Reason.VIEW_UNRESOLVED


@pytest.mark.parametrize("frames", [1, 2])
def test_lateral_views_alone_are_rejected(frames: int) -> None:
    found = resolve(angled(*[90.0, 270.0][:frames]), tuple(range(1, frames + 1)), assume_order=False)

    assert refused(found) is Reason.LATERAL_VIEW


def test_lateral_frames_beside_a_pair_are_left_out() -> None:
    found = resolve(angled(90.0, 0.0, 270.0, 180.0), (1, 2, 3, 4), assume_order=False)

    assert named(found) == [(4, A, EvidenceKind.START_ANGLE), (2, P, EvidenceKind.START_ANGLE)]


def test_two_frames_of_one_view_are_too_many() -> None:
    assert refused(resolve(angled(180.0, 180.0), (1, 2), assume_order=False)) is Reason.TOO_MANY_FRAMES


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("WB ANT", {A}),
        ("anterior", {A}),
        ("FACE ANT", {A}),
        ("AP", {A}),
        ("AN", {A}),
        ("ANTEROPOSTERIOR", {A}),
        ("Antero-posterior", {A}),
        ("WHOLE BODY_E", {A}),
        ("POSTERIOR_H2", {P}),
        ("FACE POST", {P}),
        ("PA", {P}),
        ("PO", {P}),
        ("POSTEROANTERIOR", {P}),
        ("Postero-anterior", {P}),
        ("whole body_f ", {P}),
        ("LLAT", {LATERAL}),
        ("Left lateral", {LATERAL}),
        ("ANT/POST", {A, P}),
        ("POST INJECTION ANT", {A}),
        ("3 H POST INJECTION", set()),
        ("POST-INJ 3H", set()),
        ("WB_POST_INJ", set()),
        ("3H_POST_INJECTION", set()),
        ("POSTINJECTION", set()),
        ("POST THERAPY", set()),
        ("POST OP", set()),
        ("post chemo", set()),
        ("WB 3H POST MDP", set()),
        ("POST MDP ANT", {A}),
        ("POST FX", set()),
        ("BONE WB POST PROSTATECTOMY", set()),
        ("POST SURGERY ANT", {A}),
        ("POST RIGHT MASTECTOMY", set()),
        ("POST TOTAL HIP REPLACEMENT", set()),
        ("POST BONE MARROW", set()),
        ("STATUS POST", set()),
        ("WB BONE + SPECT AP", set()),
        ("AP ABDOMEN", set()),
        ("WB AP", {A}),
        ("WB PA", {P}),
        ("LAT SKULL", set()),
        ("WB + LAT SKULL", set()),
        ("WB 3H POST", {P}),
        ("POST WB DELAYED 3H", {P}),
        ("POST WB MDP", {P}),
        ("WB ANT/POST + SPECT", {A, P}),
        ("Tot. Body ANT/POST", {A, P}),
        ("Ganzkörper POST", {P}),
        ("ANT POST OP", {A}),
        ("DETECTOR", set()),
        ("PLANAR", set()),
        ("WholeBody", set()),
        ("PATIENT", set()),
        ("", set()),
    ],
)
def test_a_label_names_the_view_by_whole_words(text: str, views: set[View]) -> None:
    assert views_of_text(text) == views


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=40))
def test_any_text_names_views_or_none(text: str) -> None:
    assert views_of_text(text) <= set(View)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="0123456789 .,;:+*#()", max_size=10), st.sampled_from(["ANT", "posterior", "Lat"]))
def test_a_word_between_other_characters_is_found(noise: str, word: str) -> None:
    assert views_of_text(f"{noise} {word} {noise}") == views_of_text(word) != set()


def test_without_labels_removes_all_free_text() -> None:
    labelled = one_frame(dict.fromkeys(KINDS, A))
    reduced = without_labels(labelled)
    assert "ANT" not in repr(reduced)
    assert (reduced.sop_uid, reduced.rows, reduced.detector_vector) == (
        labelled.sop_uid,
        labelled.rows,
        labelled.detector_vector,
    )


def test_a_frame_without_a_view_does_no_harm_beside_both_views() -> None:
    found = resolve(angled(180.0, 0.0, None), (1, 2, 3), assume_order=False)

    assert [(frame, view) for frame, view, _ in named(found)] == [(1, A), (2, P)]
