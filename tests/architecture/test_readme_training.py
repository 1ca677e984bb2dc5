"""The training of the README runs: a file of its own, because it takes longer than all others of this folder."""

import json
from pathlib import Path

from tests.architecture.readme import commands_of, run_all


def test_the_readmes_way_from_phantoms_to_an_evaluated_model_ends_above_an_auc_of_0_9(tmp_path: Path) -> None:
    commands = commands_of("training")
    assert [command[1] for command in commands] == ["phantom", "train", "export", "run", "evaluate"]
    run_all(commands, tmp_path, tmp_path / "cache")
    metrics = json.loads((tmp_path / "REPORT" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["counts"]["n"] > 50
    assert metrics["metrics"]["auc"]["value"] > 0.9
