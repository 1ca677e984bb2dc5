"""The mutants of a module: each is one change of one function."""

import ast
import copy
import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.mutants.operators import changes

ENGINE = Path(__file__).parents[2] / "engine/bsbatch"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function."""

    function: tuple[str, str]
    """Path and qualified name."""
    number: int
    """Of the change, among those of the function."""
    name: str
    """Module, function, source before and after: it stays the same if the lines move."""

    def module(self) -> CodeType:
        """Compile the module with the change."""
        path, name = self.function
        module = ast.parse(Path(path).read_text())
        function = next(node for node, qualified in _functions(module) if qualified == name)
        list(changes(function))[self.number]()
        return compile(ast.fix_missing_locations(module), path, "exec")

    def code(self) -> CodeType:
        """Compile the changed function."""
        return next(code for code in _codes(self.module()) if code.co_qualname == self.function[1])


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield all mutants of a module."""
    for function, qualified in _functions(ast.parse(path.read_text())):
        seen: Counter[str] = Counter()
        for number in range(sum(1 for _ in changes(function))):
            changed = copy.deepcopy(function)
            list(changes(changed))[number]()
            words = f"{path.relative_to(ENGINE)} {qualified}: {_difference(function, changed)}"
            seen[words] += 1
            yield Mutant((str(path), qualified), number, words + (f" #{seen[words]}" if seen[words] > 1 else ""))


def _difference(before: ast.FunctionDef, after: ast.FunctionDef) -> str:
    old, new = (ast.unparse(ast.fix_missing_locations(tree)).splitlines() for tree in (before, after))
    lines = list(difflib.ndiff(old, new))
    return " => ".join(" ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in "-+")


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[ast.FunctionDef, str]]:
    """Yield the functions of a module and of its classes; those inside functions belong to these."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child, prefix + child.name
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
