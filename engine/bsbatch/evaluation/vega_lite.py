"""Building blocks of Vega-Lite specifications: layers, encodings and legends."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification or a part of one: plain JSON values."""
Row = Mapping[str, object]
"""One datum of a mark."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as ``#rrggbb``."""

    model: str
    """Curves of the model, and its operating points."""
    negative: str
    """Examinations without metastasis."""
    positive: str
    """Examinations with metastasis, and calling all positive."""
    reference: str
    """Reference lines, thresholds and unlabelled examinations."""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One entry of a legend."""

    label: str
    """Text; a line break starts a second line."""
    stroke: str
    fill: str = "transparent"
    shape: str = "stroke"
    """Name of a Vega symbol; ``stroke`` is a line."""
    dash: tuple[int, int] = (1, 0)
    opacity: float = 1.0


def plot(title: str, *layers: Spec) -> Spec:
    """Combine layers into a specification without a size; the title is its description."""
    return {"description": title, "layer": list(layers)}


def layer(mark: str | Spec, encoding: Spec, rows: Iterable[Row] | None = None) -> Spec:
    """Combine a mark with its encoding; rows None uses the data of the whole plot."""
    return {"mark": mark, "encoding": encoding} | ({} if rows is None else {"data": {"values": list(rows)}})


def quantity(field: str, title: str | None, **more: object) -> Spec:
    """Encode a quantitative field."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def legend(entries: Sequence[LegendEntry], **place: object) -> Spec:
    """Make a legend: a layer without data, whose scales have one value for each label."""
    labels = [entry.label for entry in entries]
    style = {"title": None, "labelExpr": "split(datum.label, '\\n')", "labelLimit": 400, "symbolSize": 80, **place}

    def channel(*values: object) -> Spec:
        return {
            "datum": labels[0],
            "scale": {"type": "ordinal", "domain": labels, "range": list(values)},
            "legend": style,
        }

    encoding = {
        "stroke": channel(*(entry.stroke for entry in entries)),
        "fill": channel(*(entry.fill for entry in entries)),
        "shape": channel(*(entry.shape for entry in entries)),
        "strokeDash": channel(*(list(entry.dash) for entry in entries)),
        "opacity": channel(*(entry.opacity for entry in entries)),
    }
    return layer({"type": "point", "filled": True}, encoding, [])
