from dataclasses import replace

import numpy as np
import pytest
from tests.build_tools.phantom.conftest import WrittenSet

from bsbatch_build.phantom.anatomy import reference_adult
from bsbatch_build.phantom.lesions import SITES, draw_disease
from bsbatch_build.phantom.masks import lesion_masks
from bsbatch_build.phantom.plan import Assignment, SetPlan, assign
from bsbatch_build.phantom.reading import read_set
from bsbatch_build.phantom.render import draw_counts, render_views
from bsbatch_build.phantom.statistics import statistics_of
from bsbatch_build.phantom.study import PhantomCase, draw_case, limit_to_field

PLAN = SetPlan(studies=400, seed=11)


def _cases(number: int, *, positive: bool) -> list[PhantomCase]:
    chosen = [one for one in (assign(PLAN, index) for index in range(PLAN.studies)) if one.positive == positive]
    return [draw_case(one, _generator(one)) for one in chosen[:number]]


def _generator(assignment: Assignment) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([PLAN.seed, assignment.index]))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_posterior_view_is_seen_from_behind(written: WrittenSet) -> None:
    right = [
        _correlation(one.anterior, one.posterior[:, ::-1]) > _correlation(one.anterior, one.posterior)
        for one in read_set(written.folder)
    ]
    assert np.mean(right) > 0.9


def test_the_posterior_view_is_not_a_copy_of_the_anterior() -> None:
    for case in _cases(3, positive=False):
        anterior, posterior = render_views(case.scene, case.acquisition.optics)
        assert 0.5 < _correlation(anterior, posterior[:, ::-1]) < 0.99


def test_lesions_raise_the_expected_counts_under_their_mask() -> None:
    for case in _cases(8, positive=True):
        bare = replace(case.scene, strokes=[s for s in case.scene.strokes if s.location.bone != "lesion"])
        optics = case.acquisition.optics
        masks = lesion_masks(case.lesions, case.scene.girth, optics)
        pairs = zip(render_views(case.scene, optics), render_views(bare, optics), masks, strict=True)
        for with_lesions, without, mask in pairs:
            assert np.all(with_lesions[mask > 0] > without[mask > 0])


def test_lesions_are_neither_invisible_nor_all_obvious() -> None:
    contrasts = []
    for case in _cases(25, positive=True):
        bare = replace(case.scene, strokes=[s for s in case.scene.strokes if s.location.bone != "lesion"])
        optics = case.acquisition.optics
        masks = lesion_masks(case.lesions, case.scene.girth, optics)
        pairs = zip(render_views(case.scene, optics), render_views(bare, optics), masks, strict=True)
        for with_lesions, without, mask in pairs:
            contrasts += [
                float((with_lesions[mask == number] / without[mask == number]).max())
                for number in np.unique(mask[mask > 0])
            ]
    faint, median, strong = np.percentile(contrasts, (10, 50, 90))
    assert faint < 1.6
    assert 1.3 < median < 3.0
    assert strong > 2.2


def test_numbers_and_sites_of_lesions_follow_the_literature() -> None:
    rng = np.random.default_rng(4)
    bones = reference_adult().bones
    diseases = [draw_disease(rng, bones) for _ in range(600)]
    superscans = [disease.superscan for disease in diseases]
    numbers = [len(disease.lesions) for disease in diseases if not disease.superscan]
    assert np.mean(superscans) == pytest.approx(10 / 150, abs=0.03)
    assert np.mean(numbers) == pytest.approx(4.2, abs=0.7)
    assert min(numbers) == 1
    assert max(len(disease.lesions) for disease in diseases) <= 90
    assert all(any(bone.location.bone.startswith(site.bones) for bone in bones) for site in SITES)


@pytest.mark.parametrize(
    ("total", "ranges"),
    [
        # Ranges of the four GE 670 scans, slightly widened for the variation between patients, and
        # the one GE Millennium scan within a factor of 1.5.
        (0.5e6, {"zeros": (0.57, 0.70), "median": (3, 5), "p90": (7, 19), "p99": (12, 39), "rows": (0.73, 0.84)}),
        (3.6e6, {"zeros": (0.40, 0.58), "median": (15, 34), "p90": (37, 84), "p99": (70, 168), "rows": (0.73, 0.86)}),
    ],
)
def test_histograms_are_those_of_real_scans(total: float, ranges: dict[str, tuple[float, float]]) -> None:
    rng = np.random.default_rng(0)
    measured = []
    for case in _cases(24, positive=False):
        if (case.acquisition.optics.rows, case.acquisition.optics.columns) != (1024, 256):
            continue
        views = render_views(case.scene, case.acquisition.optics)
        measured += [
            statistics_of(draw_counts(limit_to_field(view, case.acquisition), total, rng).astype(np.int64))
            for view in views
        ]
    for name, (low, high) in ranges.items():
        assert low <= np.median([getattr(one, name) for one in measured]) <= high, name
    assert 1.5 < np.median([one.peak for one in measured]) < 8.7
