"""A hook of MkDocs: each notebook of docs/ becomes a page, with the outputs that it holds. Nothing is executed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_NOTEBOOK, _PAGE = ".ipynb", ".md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook."""
    for item in [item for item in files if item.src_uri.endswith(_NOTEBOOK)]:
        page = item.src_uri.removesuffix(_NOTEBOOK) + _PAGE
        notebook = json.loads(item.content_string)
        files.append(File.generated(config, page, content=render(notebook, Path(item.src_uri).name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: object) -> str:
    """Let links to a notebook lead to its page; the page itself links to the file."""
    for item in files:
        if item.src_uri.endswith(_NOTEBOOK) and item.src_uri.removesuffix(_NOTEBOOK) + _PAGE != page.file.src_uri:
            markdown = markdown.replace(f"({item.src_uri})", f"({item.src_uri.removesuffix(_NOTEBOOK)}{_PAGE})")
    return markdown


def render(notebook: Mapping[str, Any], name: str) -> str:
    """Return a notebook as Markdown."""
    cells = [part for cell in notebook["cells"] for part in _parts_of(cell)]
    return "\n\n".join([*cells, f"[This page as a notebook]({name})"]) + "\n"


def _parts_of(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        yield _shown(output.get("data") or {"text/plain": output.get("text", "")})


def _shown(data: Mapping[str, Any]) -> str:
    """Show the richest form of an output: a picture, a table, or text."""
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return f'<div style="overflow-x: auto">{"".join(data["text/html"])}</div>'
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"
