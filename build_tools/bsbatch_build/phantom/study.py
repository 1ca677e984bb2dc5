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
from bsbatch_build.phantom.lesions import SUPERSCAN, Disease, apply_superscan, draw_disease, make_conspicuous
from bsbatch_build.phantom.masks import Mask, lesion_masks
from bsbatch_build.phantom.patient import Patient, draw_patient
from bsbatch_build.phantom.plan import Assignment, Difficulty
from bsbatch_build.phantom.posing import pose_body
from bsbatch_build.phantom.render import Counts, Scene, draw_counts, render_views

_BACKGROUND = 0.008
_BONE_SPREAD = 0.13
"""Log standard deviation of the uptake from stroke to stroke."""
_TEXTURE_SHAPE, _TEXTURE_SPREAD = (128, 32), 0.19


@dataclass(frozen=True, slots=True, eq=False)
class PhantomCase:
    """Everything random about an examination but its noise: patient, disease, acquisition and scene."""

    assignment: Assignment
    patient: Patient
    disease: Disease
    acquisition: Acquisition
    scene: Scene
    lesions: tuple[Stroke, ...]
    """Lesions in the patient's coordinates in millimetres; number n of a mask has index n - 1 here."""


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """A finished examination."""

    case: PhantomCase
    views: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    """Counts of the anterior view and of the posterior view (as seen from behind), (rows, columns) each."""
    masks: tuple[Mask, Mask]


def make_study(assignment: Assignment, sequence: np.random.SeedSequence) -> Study:
    """Draw and render one examination from a seed sequence of its own."""
    streams = sequence.spawn(2)
    case = draw_case(assignment, np.random.default_rng(streams[0]))
    acquisition = case.acquisition
    rng = np.random.default_rng(streams[1])
    expected = (limit_to_field(view, acquisition) for view in render_views(case.scene, acquisition.optics))
    anterior, posterior = (
        draw_counts(view, total, rng) for view, total in zip(expected, acquisition.totals, strict=True)
    )
    masks = lesion_masks(case.lesions, case.scene.girth, acquisition.optics)
    return Study(case, (anterior, posterior), masks)


def draw_case(assignment: Assignment, rng: Generator) -> PhantomCase:
    """Draw patient, disease, acquisition and scene."""
    patient = draw_patient(rng)
    bones = reference_adult().bones
    confounders = draw_confounders(rng, patient.age, bones)
    acquisition = draw_acquisition(rng, assignment.centre, assignment.installation)
    disease = draw_disease(rng, bones) if assignment.positive else Disease()
    if assignment.difficulty is Difficulty.EASY:
        confounders, disease = [], make_conspicuous(disease)
    scene, lesions = _scene(rng, patient, disease, confounders)
    return PhantomCase(assignment, patient, disease, acquisition, scene, lesions)


def _scene(
    rng: Generator, patient: Patient, disease: Disease, confounders: list[Stroke]
) -> tuple[Scene, tuple[Stroke, ...]]:
    adult, body, kinetics = reference_adult(), pose_body(patient), patient.kinetics
    uneven = kinetics.bone * np.exp(rng.normal(0.0, _BONE_SPREAD, len(adult.bones)))
    bones = [bone.scale_uptake(float(gain)) for bone, gain in zip(adult.bones, uneven, strict=True)]
    if disease.superscan:
        bones = [apply_superscan(bone) for bone in bones]
    lesions = tuple(body.transform(disease.lesions)) if disease.lesions else ()
    gains = SUPERSCAN if disease.superscan else None
    organs = [_scale_organ(organ, patient, gains.organs if gains else 1.0) for organ in adult.organs]
    scene = Scene(
        strokes=[*body.transform([*bones, *organs, *confounders]), *lesions],
        soft=body.transform(adult.soft),
        soft_gain=kinetics.soft * (gains.soft if gains else 1.0),
        girth=patient.girth,
        background=_BACKGROUND,
        texture=_texture(rng),
    )
    return scene, lesions


def _texture(rng: Generator) -> Counts:
    return np.exp(rng.normal(0.0, _TEXTURE_SPREAD, _TEXTURE_SHAPE)).astype(np.float32)


def _scale_organ(organ: Stroke, patient: Patient, gain: float) -> Stroke:
    kinetics = patient.kinetics
    if organ.location.bone == "kidney":
        return organ.scale_uptake(gain * kinetics.kidneys[organ.location.side < 0])
    if organ.location.bone != "bladder":
        return organ
    middle = organ.contour.mean(axis=0)
    contour = middle + (organ.contour - middle) * kinetics.bladder_size
    return replace(organ.scale_uptake(max(gain, 0.3) * kinetics.bladder), contour=contour)


def limit_to_field(expected: Counts, acquisition: Acquisition) -> Counts:
    """Set the counts outside the detector's rows and columns to zero."""
    first, last = acquisition.window
    limited = np.zeros_like(expected)
    inside = (slice(first, last), slice(acquisition.mask, expected.shape[1] - acquisition.mask))
    limited[inside] = expected[inside]
    return limited
