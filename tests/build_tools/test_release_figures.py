"""Figures of a release: a sealed set that nobody looks at, and documents that quote its metrics and no others."""

import hashlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bsbatch.imaging import preprocess
from bsbatch.models.directory import DEMO, Model

ROOT = Path(__file__).parents[2]
FEWEST = 3000
FOLDER = Model.load(Path(DEMO), preprocess.VERSION).folder
SEALED = FOLDER / "sealed.json"


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
    return content


def commands_of(target: str) -> list[list[str]]:
    arguments = ["make", "--dry-run", "--no-print-directory", target, "MADE=anew", "RELEASE=fresh"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if "/bin/bsbatch" in line.split(" ")[0]]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def shown(metric: dict[str, float]) -> str:
    return "{value:.3f} ({low:.3f} to {high:.3f})".format(**metric)


def test_the_sealed_set_is_large_of_the_unseen_centre_and_of_a_seed_of_its_own() -> None:
    phantom, run, evaluate, card = commands_of("release-figures")
    assert int(option(phantom, "--studies")) >= FEWEST
    assert option(phantom, "--centre") == "C"
    assert phantom.count("--centre") == 1
    assert (option(run, "--model"), card[2]) == ("engine/bsbatch/models/demo", "engine/bsbatch/models/demo")
    assert Path(run[2]).parent == Path(option(evaluate, "--labels")).parent == Path(phantom[2])
    development = {option(words, "--seed") for words in commands_of("demo-model") if words[1] == "phantom"}
    assert len(development) == 5
    assert option(phantom, "--seed") not in development


def test_the_sealed_seed_is_written_nowhere_else() -> None:
    seed = re.escape(option(commands_of("release-figures")[0], "--seed"))
    files = [
        path for folder in ("engine", "build_tools", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    ]
    number = re.compile(rf"(?<![\d.]){seed[:3]}_?{seed[3:]}(?!\d)")
    assert len(files) > 300
    assert [path for path in files if number.search(path.read_text(encoding="utf-8"))] == []


def test_a_sealed_set_is_used_once(tmp_path: Path) -> None:
    (tmp_path / "sealed.json").write_text('{"seed": 77, "studies": 3000}', encoding="utf-8")
    for seed, code in ((77, 2), (7, 0), (78, 0)):
        arguments = ["make", "--no-print-directory", "sealed", f"SHIPPED={tmp_path}", f"SEALED_SEED={seed}"]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("Choose another SEALED_SEED" in done.stdout) == (code == 2)


def test_the_shipped_metrics_are_of_the_shipped_model(metrics: dict[str, Any]) -> None:
    assert metrics["model_id"] == Model.load(Path(DEMO), preprocess.VERSION).model_id
    assert metrics["run_status"] == "complete"


@pytest.mark.skipif(
    not SEALED.exists(), reason="make release-figures was not run for this model: its metrics are older"
)
def test_the_shipped_metrics_are_those_of_the_sealed_set(metrics: dict[str, Any]) -> None:
    sealed = json.loads(SEALED.read_text(encoding="utf-8"))
    assert sealed["metrics_sha256"] == hashlib.sha256((FOLDER / "metrics.json").read_bytes()).hexdigest()
    assert sealed["studies"] == metrics["counts"]["studies"] >= FEWEST
    assert metrics["planning"]["wanted_width"] == 0.1


def test_documents_quote_the_shipped_metrics(metrics: dict[str, Any]) -> None:
    rates = metrics["operating_points"]["threshold"]["metrics"]
    auc = shown(metrics["metrics"]["auc"])
    quotes = [auc, shown(rates["sensitivity"]), shown(rates["specificity"])]
    quotes += [shown(metric) for name, metric in metrics["metrics"].items() if SEALED.exists() and name != "auc"]
    documents = {
        "README.md": [auc, f"{metrics['counts']['n']:,} phantoms"],
        "docs/models.md": [*quotes, f"{metrics['counts']['n']:,} phantoms"],
        "engine/bsbatch/models/demo/card.md": quotes,
    }
    for name, wanted in documents.items():
        text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
        assert [quote for quote in wanted if quote not in text] == [], name
