"""A mutant differs from its function in one thing, and its name says in which."""

from tests.mutants.mutant import ENGINE, mutants_of


def test_a_commit_in_the_other_order_is_a_mutant_among_others() -> None:
    path = ENGINE / "sinks/parquet.py"
    mutants = {mutant.name.partition(": ")[2]: mutant for mutant in mutants_of(path) if "commit" in mutant.name}
    objects, results = (
        "self._write(OBJECTS, object_rows(outcome))",
        "self._write(RESULTS, result_rows(outcome, self._provenance))",
    )

    assert set(mutants) == {
        f"{objects} => {objects}",
        "self._next += 1 => self._next -= 1",
        "self._next += 1 => self._next += 2",
        "self._next += 1 => pass",
        f"{results} => pass",
        f"{objects} => pass",
    }
