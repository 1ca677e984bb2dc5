"""One synthetic examination from its seed: patient, disease, two views of counts, two masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bsbatch_build.phantom.anatomy import reference_adult
from bsbatch_build.phantom.centres import Acquisition, draw_acquisition
from bsbatch_build.phantom.confounders import draw_confounders
from bsbatch_build.phantom.geometry import Stroke
from bsbatch_build.phantom.lesions import SUPERSCAN, Disease, draw_disease, made_conspicuous, with_superscan
from bsbatch_build.phantom.masks import Mask, lesion_masks
from bsbatch_build.phantom.patient import Patient, draw_patient
from bsbatch_build.phantom.plan import Assignment, Difficulty
from bsbatch_build.phantom.posing import body_of
from bsbatch_build.phantom.render import Counts, Scene, count, expected_counts

_BACKGROUND = 0.008
_BONE_SPREAD = 0.13
"""Log standard deviation of the uptake from stroke to stroke."""
_TEXTURE_SHAPE, _TEXTURE_SPREAD = (128, 32), 0.19


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Patient, disease and acquisition, before anything is drawn on a matrix."""

    assignment: Assignment
    patient: Patient
    disease: Disease
    acquisition: Acquisition
    scene: Scene
    lesions: tuple[Stroke, ...]
    """Placed lesions, in millimetres; lesion n of a mask is number n - 1 here."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A finished examination."""

    subject: Subject
    views: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    """Counts, anterior and posterior as seen from behind, (rows, columns) each."""
    masks: tuple[Mask, Mask]


def make_study(assignment: Assignment, sequence: np.random.SeedSequence) -> Study:
    """Draw and render one examination from a seed sequence of its own."""
    streams = sequence.spawn(2)
    subject = draw_subject(assignment, np.random.default_rng(streams[0]))
    acquisition = subject.acquisition
    rng = np.random.default_rng(streams[1])
    expected = (seen(view, acquisition) for view in expected_counts(subject.scene, acquisition.optics))
    anterior, posterior = (count(view, total, rng) for view, total in zip(expected, acquisition.totals, strict=True))
    masks = lesion_masks(subject.lesions, subject.scene.girth, acquisition.optics)
    return Study(subject, (anterior, posterior), masks)


def draw_subject(assignment: Assignment, rng: Generator) -> Subject:
    """Draw everything random about an examination but its noise."""
    patient = draw_patient(rng)
    bones = reference_adult().bones
    confounders = draw_confounders(rng, patient.age, bones)
    acquisition = draw_acquisition(rng, assignment.centre, assignment.habit)
    disease = draw_disease(rng, bones) if assignment.positive else Disease()
    if assignment.difficulty is Difficulty.EASY:
        confounders, disease = [], made_conspicuous(disease)
    scene, lesions = _scene(rng, patient, disease, confounders)
    return Subject(assignment, patient, disease, acquisition, scene, lesions)


def _scene(
    rng: Generator, patient: Patient, disease: Disease, confounders: list[Stroke]
) -> tuple[Scene, tuple[Stroke, ...]]:
    adult, body, kinetics = reference_adult(), body_of(patient), patient.kinetics
    uneven = kinetics.bone * np.exp(rng.normal(0.0, _BONE_SPREAD, len(adult.bones)))
    bones = [bone.brightened(float(gain)) for bone, gain in zip(adult.bones, uneven, strict=True)]
    if disease.superscan:
        bones = [with_superscan(bone) for bone in bones]
    lesions = tuple(body.place(disease.lesions)) if disease.lesions else ()
    fading = SUPERSCAN if disease.superscan else None
    organs = [_excreting(organ, patient, fading.organs if fading else 1.0) for organ in adult.organs]
    scene = Scene(
        strokes=[*body.place([*bones, *organs, *confounders]), *lesions],
        soft=body.place(adult.soft),
        soft_gain=kinetics.soft * (fading.soft if fading else 1.0),
        girth=patient.girth,
        background=_BACKGROUND,
        texture=_texture(rng),
    )
    return scene, lesions


def _texture(rng: Generator) -> Counts:
    return np.exp(rng.normal(0.0, _TEXTURE_SPREAD, _TEXTURE_SHAPE)).astype(np.float32)


def _excreting(organ: Stroke, patient: Patient, gain: float) -> Stroke:
    kinetics = patient.kinetics
    if organ.place.bone == "kidney":
        return organ.brightened(gain * kinetics.kidneys[organ.place.side < 0])
    if organ.place.bone != "bladder":
        return organ
    middle = organ.contour.mean(axis=0)
    contour = middle + (organ.contour - middle) * kinetics.bladder_size
    return replace(organ.brightened(max(gain, 0.3) * kinetics.bladder), contour=contour)


def seen(expected: Counts, acquisition: Acquisition) -> Counts:
    """Zero outside the rows and columns that the detector covers."""
    first, last = acquisition.window
    seen_part = np.zeros_like(expected)
    inside = (slice(first, last), slice(acquisition.mask, expected.shape[1] - acquisition.mask))
    seen_part[inside] = expected[inside]
    return seen_part
