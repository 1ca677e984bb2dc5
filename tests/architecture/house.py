"""Measure the shape of both packages, and the prose of both and of the pages. `make house` prints it.

`make check` fails above `LIMITS`. The reasons for each measure stand in AGENTS.md, "Words".
"""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = {"engine": ROOT / "engine/bsbatch", "build_tools": ROOT / "build_tools/bsbatch_build"}
LIMITS: dict[str, tuple[float, float]] = {
    "loose modules": (12, 6),
    "import cycles": (0, 0),
    "imports that run up": (0, 0),
    "signatures with Any, %": (7, 12),
    "docstrings that begin with a question word, %": (1.5, 1.5),
    "participles as function names, %": (2, 2),
    "'hold against' in 10,000 words": (0.5, 0.5),
    "'told', 'tells' in 10,000 words": (1, 1),
    "'what ... is' in 10,000 words of docstrings": (20, 20),
    "lines of a function, median": (7, 8),
    "lines of a function, 90th percentile": (20, 20),
    "lines of the longest function": (100, 115),
    "functions over 25 lines, %": (4, 5),
    "lines of the longest module": (400, 580),
}
"""Largest value allowed, of the engine and of the build tools. The longest functions are signatures of commands."""

PAGE_LIMITS = {
    "'hold against' in 10,000 words": 0.5,
    "'told', 'tells' in 10,000 words": 0.5,
    "'shall' in 10,000 words": 0.5,
    "'whoever' in 10,000 words": 0.5,
    "'what ... is' in 10,000 words": 10.0,
    "sentences of more than 40 words, %": 1.0,
    "semicolons in 100 sentences": 2.5,
}
"""Largest value allowed, of README, CHANGELOG and docs."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_QUESTION = re.compile(r"(what|where|whether|who|whoever|how)\b", re.IGNORECASE)
_HOLD_AGAINST = re.compile(r"\b(hold|holds|held|holding)\b(\W+\w+){0,6}?\W+against\b", re.IGNORECASE)
_TOLD = re.compile(r"\b(told|tells)\b", re.IGNORECASE)
_WHAT_IS = re.compile(
    r"\b(what|whatever|where|who|whoever)\b\W+(\w+\W+){0,6}?(is|are|was|were|lies|lie|has|have|had)\b", re.IGNORECASE
)
"""A clause in place of a noun: "what the backend is", "where the value lies"."""
_NOUN_CLAUSE = re.compile(
    r"\b(what|whatever|whoever)\s+([\w`'-]+\s+){0,6}?(is|are|was|were|lies|lie|has|have|had)\b", re.I
)
"""The same on pages, within a part of a sentence; "where" begins a condition there."""
_SENTENCE_END = re.compile(r"(?<=[.?!])[)*\"]*\s+(?=[A-Z`*\"(\[])")
_NO_PROSE = re.compile(r"^```.*?^```|^\|.*?$|<!--.*?-->|^#.*?$|^:::.*?(?:\n\s.*?)*$", re.MULTILINE | re.DOTALL)
"""Code, tables, comments, headings and references of Markdown."""
_NO_TEXT = re.compile(r"^```.*?^```|^#[^\n]*", re.MULTILINE | re.DOTALL)
"""Code and headings."""
_BLOCK_END = re.compile(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.)\s)")
_LONG_SENTENCE = 40
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_IRREGULAR = re.compile(
    r"(kept|told|taken|given|made|found|held|sent|drawn|built|known|seen|shown|written|lost|left|gone|done"
    r"|met|meant|bound|brought|bought|caught|chosen|driven|fallen|felt|grown|heard|hidden|hung|laid|led"
    r"|lent|lit|paid|said|sold|spent|stood|stuck|thrown|torn|understood|woken|worn|won|wound|begun|broken"
    r"|eaten|forgotten|frozen|got|gotten|risen|shaken|sought|sunk|swept|swung|taught|thought|born|borne)"
)
_NO_PARTICIPLES = re.compile(r"(embed|exceed|feed|need|proceed|seed|speed|succeed|shed|bed|red)")


@dataclass(frozen=True, slots=True)
class Source:
    """One module of a package."""

    module: str
    """Dotted name below the package; empty for the package itself."""
    path: Path
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The first part of the name: a folder or a loose module."""
        return self.module.partition(".")[0]


def read_sources(package: Path) -> list[Source]:
    """Parse every module of a package."""
    sources = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        text = path.read_text(encoding="utf-8")
        sources.append(Source(module, path, text, ast.parse(text)))
    return sources


def measure(package: Path, layers: list[set[str]]) -> dict[str, float]:
    """Every measure of a package, by the names of `LIMITS`.

    Parameters
    ----------
    package
        Folder of the package; its name is the import name.
    layers
        Rooms from the highest layer to the lowest.
    """
    sources = read_sources(package)
    graph = imports_of(sources, package.name)
    return (
        _measure_rooms(sources, graph, layers)
        | _measure_signatures(list(functions_of(sources)))
        | _measure_prose(list(docstrings_of(sources)), [item for source in sources for item in comments_of(source)])
        | _measure_lengths(list(functions_of(sources)), sources)
    )


def _measure_rooms(sources: list[Source], graph: dict[str, set[str]], layers: list[set[str]]) -> dict[str, float]:
    loose = [source for source in sources if source.path.name not in {"__init__.py", "__main__.py"}]
    return {
        "loose modules": sum("." not in source.module for source in loose),
        "import cycles": len(cycles_in(graph)),
        "imports that run up": len(upward_imports(graph, layers)),
    }


def _measure_signatures(functions: list[Function]) -> dict[str, float]:
    return {
        "signatures with Any, %": _percent(mentions_any, functions),
        "participles as function names, %": _percent(lambda function: is_participle(function.name), functions),
    }


def _measure_prose(docstrings: list[str], comments: list[str]) -> dict[str, float]:
    described, everything = "\n".join(docstrings), "\n".join([*docstrings, *comments])
    return {
        "docstrings that begin with a question word, %": _percent(_QUESTION.match, docstrings),
        "'hold against' in 10,000 words": _rate(_HOLD_AGAINST, everything),
        "'told', 'tells' in 10,000 words": _rate(_TOLD, everything),
        "'what ... is' in 10,000 words of docstrings": _rate(_WHAT_IS, described),
    }


def _measure_lengths(functions: list[Function], sources: list[Source]) -> dict[str, float]:
    lengths = sorted(length_of(function) for function in functions)
    return {
        "lines of a function, median": median(lengths),
        "lines of a function, 90th percentile": lengths[int(0.9 * len(lengths))],
        "lines of the longest function": lengths[-1],
        "functions over 25 lines, %": _percent(lambda lines: lines > 25, lengths),
        "lines of the longest module": max(source.text.count("\n") for source in sources),
    }


def pages() -> list[Path]:
    """README, CHANGELOG and the pages of the site."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]


def measure_pages(texts: Iterable[str]) -> dict[str, float]:
    """Every measure of pages, by the names of `PAGE_LIMITS`: words of tables count, their sentences do not."""
    texts = list(texts)
    words = "\n\n".join(_NO_TEXT.sub("", text) for text in texts)
    sentences = [item for text in texts for item in sentences_of(text)]
    return {
        "'hold against' in 10,000 words": _rate(_HOLD_AGAINST, words),
        "'told', 'tells' in 10,000 words": _rate(_TOLD, words),
        "'shall' in 10,000 words": _rate(re.compile(r"\bshall\b"), words),
        "'whoever' in 10,000 words": _rate(re.compile(r"\bwho(so)?ever\b"), words),
        "'what ... is' in 10,000 words": _rate(_NOUN_CLAUSE, words),
        "sentences of more than 40 words, %": _percent(lambda item: len(item.split()) > _LONG_SENTENCE, sentences),
        "semicolons in 100 sentences": 100 * sum(item.count(";") for item in sentences) / len(sentences),
    }


def sentences_of(page: str) -> list[str]:
    """Sentences of a page in Markdown, without code and tables."""
    blocks = _BLOCK_END.split(_NO_PROSE.sub("\n\n", page))
    return [item for block in blocks for item in _SENTENCE_END.split(" ".join(block.split())) if item]


def functions_of(sources: Iterable[Source]) -> Iterator[Function]:
    """Every function and method, nested ones too."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, Function):
                yield node


def length_of(function: Function) -> int:
    """Lines from ``def`` to the end, without decorators."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def mentions_any(function: Function) -> bool:
    """Whether an annotation of the signature names `typing.Any`."""
    arguments = function.args
    annotated = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [argument.annotation for argument in annotated if argument is not None] + [function.returns]
    return any(re.search(r"\bAny\b", ast.unparse(item)) for item in annotations if item is not None)


def is_participle(name: str) -> bool:
    """Whether a function is named by a participle alone, such as ``_kept`` or ``sorted_by``, instead of a verb."""
    first = name.strip("_").partition("_")[0].lower()
    is_regular = first.endswith("ed") and len(first) > 3 and not _NO_PARTICIPLES.fullmatch(first)
    return is_regular or bool(_IRREGULAR.fullmatch(first))


def docstrings_of(sources: Iterable[Source]) -> Iterator[str]:
    """Docstrings of modules, classes, functions, and of the attributes that one follows."""
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, _DOCUMENTED):
                described = ast.get_docstring(node)
                if described:
                    yield described
                yield from _attribute_docstrings(node.body)


def _attribute_docstrings(body: list[ast.stmt]) -> Iterator[str]:
    for before, statement in pairwise(body):
        if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(statement, ast.Expr):
            value = statement.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def comments_of(source: Source) -> Iterator[str]:
    """Comments of a module, as far as a line holds one behind two spaces or at its start."""
    for line in source.text.splitlines():
        found = re.search(r"(?:^|\s)#\s(.*)", line)
        if found:
            yield found[1]


def imports_of(sources: list[Source], package: str) -> dict[str, set[str]]:
    """Module -> modules of the same package that it imports, anywhere in it."""
    modules = {source.module for source in sources}
    return {source.module: set(_imported(source.tree, modules, package)) - {source.module} for source in sources}


def _imported(tree: ast.Module, modules: set[str], package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith(f"{package}."):
                yield _module_of(name.removeprefix(f"{package}."), modules)


def _module_of(name: str, modules: set[str]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def cycles_in(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import one another."""
    reached = {module: _reached_from(module, graph) for module in graph}
    groups = {frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return [set(group) for group in groups if group]


def _reached_from(module: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = [module]
    while pending:
        for target in graph.get(pending.pop(), ()):
            if target not in reached:
                reached.add(target)
                pending.append(target)
    return reached


def upward_imports(graph: dict[str, set[str]], layers: list[set[str]]) -> list[tuple[str, str]]:
    """Imports of a room in a higher layer, or of a sibling in the same one."""
    floor = {room: number for number, rooms in enumerate(layers) for room in rooms}
    return [
        (module, target)
        for module, targets in graph.items()
        for target in targets
        if _runs_up(module.partition(".")[0], target.partition(".")[0], floor)
    ]


def _runs_up(room: str, target: str, floor: dict[str, int]) -> bool:
    return bool(room and target and room != target and floor[target] <= floor[room])


def layers_of(package: str) -> list[set[str]]:
    """The layers of a package in the contract of pyproject.toml, from the highest to the lowest."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item.get("containers") == [package])
    return [{room.strip() for room in layer.split("|")} for layer in layers]


def _percent(condition: Callable[[Any], object], items: list[Any]) -> float:
    return 100 * sum(bool(condition(item)) for item in items) / len(items)


def _rate(pattern: re.Pattern[str], text: str) -> float:
    return 10_000 * len(pattern.findall(text)) / len(_WORD.findall(text))


def main() -> int:
    """Print the measures beside their limits; 1 where one is above its limit."""
    measured = [measure(folder, layers_of(folder.name)) for folder in PACKAGES.values()]
    print(f"{'':48}{'engine':>8}{'limit':>8}{'build':>8}{'limit':>8}")
    is_over = False
    for name, limits in LIMITS.items():
        cells = ""
        for values, limit in zip(measured, limits, strict=True):
            over = values[name] > limit
            is_over |= over
            cells += f"{values[name]:>7.4g}{'*' if over else ' '}{limit:>8g}"
        print(f"{name:48}{cells}")
    print(f"\n{'':48}{'pages':>8}{'limit':>8}")
    measured_pages = measure_pages(path.read_text(encoding="utf-8") for path in pages())
    for name, limit in PAGE_LIMITS.items():
        over = measured_pages[name] > limit
        is_over |= over
        print(f"{name:48}{measured_pages[name]:>7.4g}{'*' if over else ' '}{limit:>8g}")
    if is_over:
        print("* above its limit: see AGENTS.md, Words")
    return int(is_over)


if __name__ == "__main__":
    sys.exit(main())
