"""Compares ways to recognise images unlike the training data of a model: ``python -m benchmarks.unlike.study FOLDER``.

The outputs of the model for each kind of image are kept in FOLDER, so that a study that was stopped goes on.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnx
from benchmarks.unlike.detectors import DETECTORS, Outputs
from benchmarks.unlike.kinds import CHANGES, Counts, phantom_images, phantom_labels, real_images, slice_images
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DEMO, Model
from bsbatch_build.export.features import read_scores
from bsbatch_build.export.fit import PERCENTILE

_FIT, _VALIDATION, _FRESH, _KIND = 400, 200, 100, 12
"""Phantoms that detectors are fitted to, that give their limits, that are like them, and images of each kind."""
_SMALL = (64, 64)
_LIKE = "A and B, fresh"
_CENTRES = ("A", "B")


def sets(number: int) -> dict[str, Callable[[], Iterator[Counts]]]:
    """Return a function that makes its images for each set, by name."""
    kinds = {name: partial(phantom_images, ("A", "B", "C"), number, 9100, change) for name, change in CHANGES.items()}
    given: dict[str, Callable[[], Iterator[Counts]]] = {
        "fit": partial(phantom_images, _CENTRES, _FIT, 9001),
        "validation": partial(phantom_images, _CENTRES, _VALIDATION, 9002),
        _LIKE: partial(phantom_images, _CENTRES, _FRESH, 9003),
        "C, fresh": partial(phantom_images, ("C",), _FRESH, 9004),
    }
    return given | kinds | {"slices of CT and MR": partial(slice_images, number, 9005), "NM1, real": real_images}


def read(folder: Path, number: int) -> dict[str, Outputs]:
    """Read the outputs of the demo model for each set; compute those that the folder lacks."""
    graph = onnx.load(Model.load(Path(DEMO), VERSION).graph)
    found = {}
    for name, images in sets(number).items():
        path = folder / f"{name.replace(' ', '_').replace('%', 'percent')}.npz"
        if not path.exists():
            small: list[NDArray[np.float32]] = []
            features, logits = read_scores(graph, _reduce(images(), small))
            with path.with_suffix(".partial").open("wb") as stream:
                np.savez(stream, features=features, logits=logits, small=np.stack(small))
            path.with_suffix(".partial").rename(path)
            print(f"{name}: {len(features)}", flush=True)
        with np.load(path) as stored:
            found[name] = Outputs(stored["features"], stored["logits"], stored["small"], np.zeros(0, bool))
    return found | {"fit": found["fit"]._replace(labels=phantom_labels(_CENTRES, _FIT, 9001))}


def _reduce(images: Iterator[Counts], small: list[NDArray[np.float32]]) -> Iterator[Counts]:
    """Pass images on, and append each one reduced."""
    for image in images:
        small.append(np.asarray(cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA), np.float32).ravel())
        yield image


def compare(found: dict[str, Outputs]) -> dict[str, dict[str, dict[str, float]]]:
    """Return for each detector and set the ROC AUC against fresh phantoms of A and B, and the flagged share."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, fit in DETECTORS.items():
        detector = fit(found["fit"])
        limit, like = np.percentile(detector(found["validation"]), PERCENTILE), detector(found[_LIKE])
        result[name] = {}
        for kind in [kind for kind in found if kind not in {"fit", "validation"}]:
            values = detector(found[kind])
            truth = np.repeat([False, True], [len(like), len(values)])
            auc = roc_auc_score(truth, np.concatenate([like, values]))
            result[name][kind] = {"auc": float(auc), "flagged": float(np.mean(values > limit)), "images": len(values)}
    return result


def table(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the AUCs and, behind them, the flagged shares in per cent as Markdown."""
    kinds = next(iter(result.values()))
    lines = [f"| images | n | {' | '.join(result)} |", f"|---|{'---|' * (len(result) + 1)}"]
    for kind, first in kinds.items():
        cells = [f"{item[kind]['auc']:.3f} {100 * item[kind]['flagged']:.0f} %" for item in result.values()]
        lines.append(f"| {kind} | {first['images']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the study from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=_KIND, help="images of each kind")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    result = compare(read(given.folder, given.number))
    (given.folder / "unlike.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
