"""Templates to pages: everything that comes from outside is escaped, and pages are written whole."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import bsbatch
from bsbatch.errors import OutputError
from bsbatch.host.files import replace_text
from bsbatch.notice import show_score

EXPORT = "globalThis.bsbatchEmbed = vegaEmbed;"
"""Statement by which the bundled script gives Vega-Embed to the page's script."""
_TEMPLATES = Path(__file__).parent / "templates"


def render_template(name: str, variables: Mapping[str, object], script: str) -> str:
    """Render a template as text; ``script`` is Vega-Embed and its dependencies."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "dict": asdict,
        "count": "{:,}".format,
        "decimal": _decimal,
        "interval": _interval,
        "plain": _plain,
        "score": show_score,
    }
    bundle = Markup(script.replace("</script", r"<\/script"))
    return environment.get_template(name).render(variables, bundle=bundle, version=bsbatch.__version__)


def write_text(page: Path, text: str) -> Path:
    """Write a page, and return its path.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    try:
        replace_text(page, text)
    except OSError as error:
        raise OutputError.of(page, error) from error
    return page


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(item: Mapping[str, float | None]) -> str:
    if item["value"] is None or item["low"] is None:
        return ""
    return f"{item['low']:.3f} to {item['high']:.3f}"


def _plain(value: object) -> str:
    """Write a setting in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "not set" if value is None else str(value)
