"""What heat maps cost: in the same pass, against TensorFlow's gradient tape, and drawn as overlays."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.equality import assert_same_maps
from benchmarks.pairing import paired
from benchmarks.peers.job import ARCHIVE, GRAPH, KERAS
from benchmarks.report_page import drawn_examination
from benchmarks.results import Outcome, Row, Target, compared
from benchmarks.setup import Setup
from numpy.typing import NDArray

from bsbatch.backends.keras_cams import KerasTape
from bsbatch.bench.stages import Workload, images_of
from bsbatch.config import Effort, OverlayFormat
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model
from bsbatch.records import UnitOutcome
from bsbatch.registry import BACKENDS, load
from bsbatch.sinks.overlays import OverlaySink
from bsbatch_build import toolchain
from bsbatch_build.export.cam_head import CAM, FEATURES

FUSED, TAPE, OVERLAYS = Target(1.02, "x", False), Target(50.0, "x", True), Target(20.0, "/s", True)
_ON_CPU = ("winograd", "mnn", "onnxruntime")
_CLOCK = 1e-3
"""Seconds that a difference of two times counts as at least."""

Images = NDArray[np.float32]


def heat_maps(setup: Setup) -> Outcome:
    """Inference with maps against without, maps alone against a gradient tape, and overlays in a second."""
    kit = setup.kit(setup.sizes.few)
    model = Model.load((kit / GRAPH).parent, preprocess.VERSION)
    images = images_of(Workload(kit / ARCHIVE), setup.sizes.few)
    rows, detail = [], []
    for backend in _ON_CPU:
        row, line = _fused(setup, backend, model, images)
        rows.append(row)
        detail.append(line)
    rows += [_tape(setup, kit, model, images), _overlays(setup)]
    note = (
        f"{setup.sizes.few} images a turn; ours is without maps. Maps of {setup.sizes.maps} scans beyond the forward "
        "pass: the nodes that only the map needs, in ONNX Runtime, against the tape over the head less "
        "the head. Overlays in a second of one processor's time, contact sheets not counted."
    )
    return Outcome("heat_maps", rows, detail, [note])


def _fused(setup: Setup, name: str, model: Model, images: Images) -> tuple[Row, dict[str, Any]]:
    with ExitStack() as stack:
        plain, fused = (
            stack.enter_context(BACKENDS[name].load()(model, Effort(), with_cams=with_cams))
            for with_cams in (False, True)
        )
        for backend in (plain, fused):
            backend.infer(images)
        pairs = paired(lambda: _rate(plain, images), lambda: _rate(fused, images), setup.sizes.map_pairs)
    row = Row(f"inference with heat maps against without, {name}", FUSED, [pair.ratio for pair in pairs])
    return row, compared(f"{name} with heat maps", pairs)


def _rate(backend: Any, images: Images) -> float:
    return len(images) / _seconds(lambda: backend.infer(images))


def _tape(setup: Setup, kit: Path, model: Model, images: Images) -> Row:
    """Both sides start from the same features; their maps are compared first."""
    tape = KerasTape(toolchain.keras().models.load_model(kit / KERAS, compile=False))
    few = np.asarray(tape.trunk(np.repeat(images.transpose(0, 2, 3, 1), 3, axis=3), training=False))
    features = np.concatenate([few] * -(-setup.sizes.maps // len(few)))[: setup.sizes.maps]
    ours = _maps_alone(model, np.ascontiguousarray(features.transpose(0, 3, 1, 2)))
    on_tape = toolchain.tensorflow().constant(features)
    assert_same_maps(ours(), tape.maps_of(on_tape))

    def beyond_the_forward_pass() -> float:
        tape.head(on_tape, training=False)  # the first call after others maps its memory anew
        forward = _seconds(lambda: np.asarray(tape.head(on_tape, training=False)))
        return 1 / max(_seconds(lambda: tape.maps_of(on_tape)) - forward, _CLOCK)

    pairs = paired(lambda: 1 / _seconds(ours), beyond_the_forward_pass, setup.sizes.rounds)
    what = f"heat maps of {setup.sizes.maps} scans against TensorFlow's GradientTape, beyond the forward pass"
    return Row(what, TAPE, [pair.ratio for pair in pairs])


def _maps_alone(model: Model, features: Images) -> Callable[[], Images]:
    """The nodes of the graph that only the map needs, fed with what the forward pass has made anyway."""
    graph = load("onnx.shape_inference:infer_shapes")(load("onnx:load")(model.graph))
    hidden = next(node.input[0] for node in graph.graph.node if node.name == f"{CAM}/Sign")
    cut = load("onnx.utils:Extractor")(graph).extract_model
    forward, maps = (_session(cut(*ends)) for ends in (([FEATURES], [hidden]), ([FEATURES, hidden], [CAM])))
    feed = {FEATURES: features, hidden: forward.run(None, {FEATURES: features})[0]}
    return lambda: np.asarray(maps.run(None, feed)[0])


def _session(graph: Any) -> Any:
    return load("onnxruntime:InferenceSession")(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def _overlays(setup: Setup) -> Row:
    random = np.random.default_rng(1)
    drawn = [
        drawn_examination({"exam_id": f"{number:032x}", "p_metastasis": 0.9}, random)
        for number in range(setup.sizes.maps)
    ]
    sink = OverlaySink(setup.runs / "overlays", OverlayFormat.PNG, 0.5, 1)
    rates: list[float] = []
    for _ in range(setup.sizes.rounds):
        started = time.process_time()
        sink.commit(UnitOutcome(tuple(drawn), ()))
        rates.append(len(drawn) / (time.process_time() - started))
    return Row("overlays of two views of 1024 x 256, PNG, one core", OVERLAYS, rates)


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
