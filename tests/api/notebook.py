"""Run the notebooks of docs. ``python -m tests.api.notebook`` writes their outputs anew."""

import ast
import base64
import io
import json
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL.Image import Image

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs").glob("*.ipynb"))
Output = dict[str, Any]


def read(notebook: Path) -> dict[str, Any]:
    """A notebook."""
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    return content


def run_notebook(notebook: Path) -> list[list[Output]]:
    """Run the cells in the current folder, one after another with one namespace; return the outputs of each."""
    names: dict[str, object] = {}
    codes = ["".join(cell["source"]) for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]
    return [list(_run(code, number, names)) for number, code in enumerate(codes, start=1)]


def _run(code: str, number: int, names: dict[str, object]) -> Iterator[Output]:
    """Run one cell as Jupyter does: what it prints, then the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else ast.Pass()
    shown = ast.Expression(last.value if isinstance(last, ast.Expr) else ast.Constant(None))
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {number}", "exec"), names)
        value = eval(compile(ast.fix_missing_locations(shown), f"cell {number}", "eval"), names)
    if printed.getvalue():
        yield {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
    if value is not None:
        yield {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": _forms_of(value)}


def _forms_of(value: Any) -> dict[str, Any]:
    if isinstance(value, Image):
        value.save(file := io.BytesIO(), "PNG", optimize=True)
        size = f"image of {value.width} x {value.height} pixels"
        return {"text/plain": [size], "image/png": base64.b64encode(file.getvalue()).decode()}
    forms = {"text/plain": repr(value).splitlines(keepends=True)}
    if hasattr(value, "_repr_html_"):
        forms["text/html"] = value._repr_html_().splitlines(keepends=True)
    return forms


def texts_of(outputs: list[Output]) -> list[str]:
    """The text form of each output."""
    return ["".join(item["text"] if "text" in item else item["data"]["text/plain"]) for item in outputs]


def main() -> None:
    """Write the outputs into the notebooks."""
    for path in NOTEBOOKS:
        with TemporaryDirectory() as folder, chdir(folder):
            outputs = run_notebook(path)
        notebook = read(path)
        codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, (cell, found) in enumerate(zip(codes, outputs, strict=True), start=1):
            cell |= {"outputs": found, "execution_count": number}
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
