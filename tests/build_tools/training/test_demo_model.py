"""Data of ``make demo-model`` for training and test; the shipped model was made by these commands."""

import json
import shlex
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bsbatch.imaging import preprocess
from bsbatch.models.directory import DEMO, Model
from bsbatch_build.card.lineage import lineage
from bsbatch_build.cli import app
from bsbatch_build.training import train
from bsbatch_build.training.progress import TrainingResult
from bsbatch_build.training.train import TrainConfig

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    """Every call of ``bsbatch`` and ``bsbatch-build`` in it, as words."""
    return commands_of("demo-model")


def commands_of(target: str) -> list[list[str]]:
    arguments = ["make", "--dry-run", "--no-print-directory", target, "MADE=anew"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = map(shlex.split, done.stdout.replace("\\\n", " ").splitlines())
    return [[Path(words[0]).name, *words[1:]] for words in lines if words and "/bin/bsbatch" in words[0]]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(Path(DEMO), preprocess.VERSION)


def calls(commands: list[list[str]], *start: str) -> list[list[str]]:
    return [words for words in commands if words[: len(start)] == list(start)]


def options(words: list[str], name: str) -> set[str]:
    return {words[index + 1] for index, word in enumerate(words) if word == name}


def read_configs(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """Read the configuration of each training from its command line."""
    configs: list[TrainConfig] = []

    def learn_nothing(config: TrainConfig, _: Any) -> TrainingResult:
        configs.append(config)
        return TrainingResult(config.out, (), {})

    monkeypatch.setattr(train, "train", learn_nothing)
    for words in calls(commands, "bsbatch-build", "train"):
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, done.output
    return configs


def start_of(config: TrainConfig, folders: list[Path]) -> str:
    """Describe the starting weights of a training in the words of the lineage."""
    if config.network.weights == "random":
        return f"random weights, seed {config.network.seed}"
    return f"training {folders.index(Path(config.network.weights).parent) + 1}"


def test_training_and_test_data_do_not_overlap(commands: list[list[str]]) -> None:
    sets = {words[2]: words for words in calls(commands, "bsbatch-build", "phantom")}
    (tested,) = [Path(words[2]).parent for words in calls(commands, "bsbatch", "run")]
    trained = {str(Path(words[2]).parent) for words in calls(commands, "bsbatch-build", "train")}
    assert trained == sets.keys() - {str(tested)}
    assert options(sets[str(tested)], "--centre") == {"C"}
    assert all(options(sets[folder], "--centre") == {"A", "B"} for folder in trained)
    assert len(set.union(*(options(words, "--seed") for words in sets.values()))) == len(sets)
    assert not any(options(words, "--difficulty") for words in sets.values())


def test_the_model_is_fitted_to_phantoms_that_no_training_has_seen(commands: list[list[str]], model: Model) -> None:
    fit = commands_of("demo-fit")
    (drawn,), (export,) = calls(fit, "bsbatch-build", "phantom"), calls(fit, "bsbatch-build", "export")
    others = set.union(*(options(words, "--seed") for words in calls(commands, "bsbatch-build", "phantom")))
    assert options(drawn, "--centre") == {"A", "B"}
    assert not options(drawn, "--seed") & others
    assert {"--fresh", "--calibrate"} <= set(export)
    statistics, calibration = model.manifest.statistics, model.manifest.calibration
    assert statistics["is_fresh"]
    assert calibration["examinations"] == statistics["examinations"] + statistics["validation"]
    assert options(drawn, "--studies") == {str(calibration["examinations"])}
    assert model.manifest.training["commands"][-1] == "make demo-fit"


def test_the_trainings_are_those_of_the_makefile(
    commands: list[list[str]], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs, trainings = read_configs(commands, monkeypatch), lineage(model.manifest.training)
    folders = [config.out for config in configs]
    assert len(trainings) == len(configs) > 1
    for config, training in zip(configs, trainings, strict=True):
        assert training.start == start_of(config, folders)
        assert training.recipe == json.loads(json.dumps(asdict(config.recipe)))
        assert training.network == {name: getattr(config.network, name) for name in ("width", "early_width", "seed")}
        assert config.masks is not None
        assert len(training.history) == config.recipe.epochs


def test_the_model_is_put_together_as_the_makefile_says(commands: list[list[str]], model: Model) -> None:
    (export,) = calls(commands, "bsbatch-build", "export")
    trained = [out for words in calls(commands, "bsbatch-build", "train") for out in options(words, "--out")]
    recorded = model.manifest.training
    hashes = {f"{out}/model.keras": training.sha256 for out, training in zip(trained, lineage(recorded), strict=True)}
    joined = [word for word in export if word in hashes]
    assert {recorded["weights_sha256"]} == {hashes[file] for file in options(export, "--weights")}
    assert recorded["joined"].endswith("mirrored image") == ("--mirror" in export)
    assert all(hashes[file][:16] in recorded["joined"] for file in joined)
    assert len(recorded["joined_with"]) == len(joined) - 1
