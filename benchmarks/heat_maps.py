"""Cost of heat maps: within inference, against TensorFlow's gradient tape, and drawn as overlays."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime
from benchmarks.equality import assert_same_maps
from benchmarks.pairing import measure_pairs
from benchmarks.peers.job import ARCHIVE, GRAPH, KERAS
from benchmarks.report_page import draw_examination
from benchmarks.results import Line, Outcome, Row, Target, line_of
from benchmarks.setup import Setup
from numpy.typing import NDArray

from bsbatch.backends.keras_cams import KerasTape
from bsbatch.backends.registry import load_backend
from bsbatch.bench.stages import load_images, open_setup
from bsbatch.config import Effort
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model
from bsbatch.protocols import Backend
from bsbatch.records import UnitOutcome
from bsbatch.sinks.overlays import Look, OverlaySink
from bsbatch_build import toolchain
from bsbatch_build.export.cam_head import CAM, FEATURES

FUSED, TAPE, OVERLAYS = Target(1.02, "x", False), Target(50.0, "x", True), Target(20.0, "/s", True)
_ON_CPU = ("winograd", "mnn", "onnxruntime")
_CLOCK = 1e-3
"""Seconds; lower limit of a difference of two times."""

Images = NDArray[np.float32]


def heat_maps(setup: Setup) -> Outcome:
    """Inference with maps against without, maps alone against a gradient tape, and overlays per second."""
    kit = setup.kit(setup.sizes.few)
    model = Model.load((kit / GRAPH).parent, preprocess.VERSION)
    with open_setup(kit / ARCHIVE) as opened:
        images = load_images(opened, setup.sizes.few)
    rows, detail = [], []
    for backend in _ON_CPU:
        row, line = _inference_with_maps(setup, backend, model, images)
        rows.append(row)
        detail.append(line)
    rows += [_maps_against_tape(setup, kit, model, images), _overlays(setup)]
    note = (
        f"{setup.sizes.few} images a turn; ours is without maps. Maps of {setup.sizes.maps} scans beyond the forward "
        "pass: the nodes that only the map needs, in ONNX Runtime, against the tape over the head less "
        "the head. Overlays in a second of one processor's time, contact sheets not counted."
    )
    return Outcome("heat_maps", rows, detail, [note])


def _inference_with_maps(setup: Setup, name: str, model: Model, images: Images) -> tuple[Row, Line]:
    with ExitStack() as stack:
        without, with_maps = (
            stack.enter_context(load_backend(name)(model, Effort(), with_cams=with_cams)) for with_cams in (False, True)
        )
        for backend in (without, with_maps):
            backend.infer(images)
        pairs = measure_pairs(lambda: _rate(without, images), lambda: _rate(with_maps, images), setup.sizes.map_pairs)
    row = Row(f"inference with heat maps against without, {name}", FUSED, [pair.ratio for pair in pairs])
    return row, line_of(f"{name} with heat maps", pairs)


def _rate(backend: Backend, images: Images) -> float:
    return len(images) / _seconds(lambda: backend.infer(images))


def _maps_against_tape(setup: Setup, kit: Path, model: Model, images: Images) -> Row:
    """Measure the maps alone, from the same features on both sides; the maps are compared first."""
    tape = KerasTape(toolchain.keras().models.load_model(kit / KERAS, compile=False))
    few = np.asarray(tape.trunk(np.repeat(images.transpose(0, 2, 3, 1), 3, axis=3), training=False))
    features = np.concatenate([few] * -(-setup.sizes.maps // len(few)))[: setup.sizes.maps]
    ours = _maps_alone(model, np.ascontiguousarray(features.transpose(0, 3, 1, 2)))
    on_tape = toolchain.tensorflow().constant(features)
    assert_same_maps(ours(), tape.maps_of(on_tape))

    def beyond_the_forward_pass() -> float:
        tape.head(on_tape, training=False)  # warm-up: the first call after others maps its memory again
        forward = _seconds(lambda: np.asarray(tape.head(on_tape, training=False)))
        return 1 / max(_seconds(lambda: tape.maps_of(on_tape)) - forward, _CLOCK)

    pairs = measure_pairs(lambda: 1 / _seconds(ours), beyond_the_forward_pass, setup.sizes.rounds)
    what = f"heat maps of {setup.sizes.maps} scans against TensorFlow's GradientTape, beyond the forward pass"
    return Row(what, TAPE, [pair.ratio for pair in pairs])


def _maps_alone(model: Model, features: Images) -> Callable[[], Images]:
    """Return a function that runs the nodes needed only for the map, on the outputs of the forward pass."""
    graph = toolchain.package("onnx.shape_inference").infer_shapes(toolchain.package("onnx").load(model.graph))
    hidden = next(node.input[0] for node in graph.graph.node if node.name == f"{CAM}/Sign")
    cut = toolchain.package("onnx.utils").Extractor(graph).extract_model
    forward, maps = (
        _compile(cut(*ends).SerializeToString()) for ends in (([FEATURES], [hidden]), ([FEATURES, hidden], [CAM]))
    )
    feed = {FEATURES: features, hidden: forward({FEATURES: features})}
    return lambda: maps(feed)


def _compile(graph: bytes) -> Callable[[Mapping[str, Images]], Images]:
    """Return a function from the inputs of an ONNX graph to its only output, on ONNX Runtime."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda feed: np.asarray(session.run(None, feed)[0])


def _overlays(setup: Setup) -> Row:
    random = np.random.default_rng(1)
    drawn = [
        draw_examination({"exam_id": f"{number:032x}", "p_metastasis": 0.9}, random)
        for number in range(setup.sizes.maps)
    ]
    sink = OverlaySink(setup.runs / "overlays", Look(0.5), 1)
    rates: list[float] = []
    for _ in range(setup.sizes.rounds):
        started = time.process_time()
        sink.commit(UnitOutcome(tuple(drawn), ()))
        rates.append(len(drawn) / (time.process_time() - started))
    return Row("overlays of two views of 1024 x 256, PNG, one core", OVERLAYS, rates)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
