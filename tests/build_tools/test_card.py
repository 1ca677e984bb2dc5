"""The model card quotes manifest and evaluation, and leaves every other checklist item open."""

import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import pytest
from tests.evaluation.made import files_of, like_the_paper
from typer.testing import CliRunner

from bsbatch.errors import ModelError, OutputError, UsageError
from bsbatch.evaluation import metrics_json as evaluated
from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.settings import EvaluationConfig, Resampling
from bsbatch.imaging import preprocess
from bsbatch.models.directory import DEMO, MANIFEST, Model
from bsbatch_build.card import answers, metrics
from bsbatch_build.card.facts import facts_of, read_models
from bsbatch_build.card.make import CardSettings, make_card
from bsbatch_build.card.markdown import OPEN, markdown_of
from bsbatch_build.cli import app

TRAINING: dict[str, Any] = {
    "data": {"kind": "phantoms", "counts": {"train": {"A": {"negative": 600, "positive": 240}}}},
    "split": "by centre and patient; 12 % of A and B for validation, C for testing",
    "configuration": {"epochs": 6, "learning_rate": 1e-4, "augmentation": ["flip", "none"]},
    "initialisation": "He normal, seed 1",
    "road": "batch normalisation, folded into the convolutions",
    "selection": "the last epoch",
    "joined": "the mean of the logits of two",
    "commands": ["bsbatch-build phantom SET --seed 1", "bsbatch-build train SET/archive --out RUN"],
    "weights_count": 58950,
}
OPEN_OF_PHANTOMS = {
    "CLAIM 2020": {2, 4, 31, 40, 42},
    "CLAIM 2024": {2, 4, 31, 44},
    "STARD 2015": {2, 4, 28, 30},
    "STARD-AI 2025": {2, 4, 23, 36, 38, 39},
    "TRIPOD+AI": {2, 4, 14, 18},
}
"""Items that only the authors of a study can answer."""
PARTS: dict[str, dict[str, str]] = {
    "STARD 2015": dict.fromkeys(("10", "12", "13", "21"), "ab"),
    "STARD-AI 2025": {"15": "abcd", "16": "abc", "17": "ab", "26": "ab", "40": "ab"},
    "TRIPOD+AI": {
        **{"3": "abc", "5": "ab", "6": "abc", "8": "abc", "9": "abc", "12": "abcdefg", "18": "abcdef"},
        **{"20": "abc", "23": "ab", "27": "abc"},
    },
}
"""Parts of the items that have any."""


@pytest.fixture(scope="module")
def report(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of an evaluation that names the twin as its model."""
    folder = tmp_path_factory.mktemp("evaluation")
    results, labels = files_of(folder, like_the_paper())
    config = EvaluationConfig(results, labels, folder / "report", resampling=Resampling(20))
    content = evaluated.content_of(evaluate(config)) | {"model_id": model_of(twin).model_id}
    (folder / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def trained(twin: Path, tmp_path: Path) -> Path:
    """The twin with a manifest as training writes it."""
    return with_training(twin, tmp_path / "trained", TRAINING)


def model_of(folder: Path) -> Model:
    return Model.load(folder, preprocess.VERSION)


def rewrite(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


def with_training(model: Path, folder: Path, training: dict[str, Any]) -> Path:
    shutil.copytree(model, folder)
    rewrite(folder / MANIFEST, training=training)
    return folder


def card_of(model: Path, evaluation: Path | None, out: Path) -> tuple[dict[str, Any], str]:
    """Make a card and read both files back."""
    make_card(CardSettings(model, evaluation, out))
    content = json.loads((out / "card.json").read_text(encoding="utf-8"))
    return content, (out / "card.md").read_text(encoding="utf-8")


def row(markdown: str, *cells: str) -> list[str]:
    """The cells of the first table row that begins with these; the lists of 2020 and 2015 are before the newer ones."""
    start = "| " + " | ".join(cells) + " |"
    line = next(line for line in markdown.splitlines() if line.startswith(start))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def open_items(checklist: dict[str, Any]) -> set[int]:
    return {int(re.sub("[a-z]$", "", item["number"])) for item in checklist["items"] if item["status"] == "open"}


@pytest.mark.parametrize(
    ("position", "title", "items"),
    [
        (0, "CLAIM 2020", 42),
        (1, "CLAIM 2024", 44),
        (2, "STARD 2015", 30),
        (3, "STARD-AI 2025", 40),
        (4, "TRIPOD+AI", 27),
    ],
)
def test_a_checklist_has_every_number_once_and_in_order(position: int, title: str, items: int, twin: Path) -> None:
    checklist = answers.checklists(facts_of(model_of(twin), None))[position]
    assert checklist.title == title
    expected = []
    for number in map(str, range(1, items + 1)):
        parts = PARTS.get(title, {}).get(number)
        expected += [f"{number}{part}" for part in parts] if parts else [number]
    assert [item.number for item in checklist.items] == expected
    assert sum(checklist.count(status) for status in answers.ItemStatus) == items
    assert all(item.item and item.section for item in checklist.items)


def test_every_fact_that_a_text_quotes_can_be_known(trained: Path, report: Path) -> None:
    model, demo = model_of(trained), Model.load(Path(DEMO), preprocess.VERSION).manifest
    evaluation = {**metrics.read_metrics(report, model.model_id), **unfinished(report)}
    manifest = replace(model.manifest, calibration=demo.calibration, statistics=demo.statistics)
    fitted = replace(model, manifest=replace(manifest, distance_name="distance", distance_limit=1.0))
    known = set(facts_of(fitted, metrics.ReportedEvaluation.parse(evaluation)).known)
    known |= {"untrained", "training_weights", "fairness", "unlike"}.union(*read_models().values())
    wordings = [wording for name in (*answers.CHECKLISTS, answers.STATEMENTS) for wording in texts_of(name)]
    assert len(wordings) >= 100
    for wording in wordings:
        assert set(Template(wording).get_identifiers()) <= known, wording


def texts_of(name: str) -> list[str]:
    """Every wording in a TOML file of the card, and every name of a fact as one."""
    file = tomllib.loads((Path(answers.__file__).parent / name).read_text(encoding="utf-8"))
    entries = [entry for value in file.values() if isinstance(value, list) for entry in value]
    values = [entry[key] for entry in entries for key in ("text", "phantoms", "inapplicable") if key in entry]
    needed = [f"${entry['needs']}" for entry in entries if "needs" in entry]
    return needed + [text for value in values for text in ([value] if isinstance(value, str) else value)]


def unfinished(report: Path) -> dict[str, Any]:
    counts = json.loads((report / "metrics.json").read_text(encoding="utf-8"))["counts"]
    return {"run_status": "interrupted", "counts": counts | {"unmatched": counts["unmatched"] | {"not_scored": 3}}}


def test_a_fact_about_one_model_is_on_its_card_and_on_no_other(trained: Path, report: Path, tmp_path: Path) -> None:
    demo, _ = card_of(Path(DEMO), None, tmp_path / "demo")
    other, _ = card_of(trained, report, tmp_path / "other")
    (facts,) = read_models().values()
    assert list(read_models()) == [demo["model"]["id"]]
    assert set(facts.values()) <= set(demo["limits"])
    assert facts["own_patients"] in demo["notices"]
    assert not any(text in json.dumps(other, ensure_ascii=False) for text in facts.values())


def test_the_shipped_card_is_up_to_date(tmp_path: Path) -> None:
    """Make it with ``bsbatch-build card engine/bsbatch/models/demo --evaluation engine/bsbatch/models/demo``."""
    shipped = Model.load(Path(DEMO), preprocess.VERSION).folder
    card_of(Path(DEMO), shipped, tmp_path)
    for name in ("card.json", "card.md"):
        assert (tmp_path / name).read_bytes() == (shipped / name).read_bytes()


def test_a_card_of_phantoms_says_so_first_and_answers_all_but_what_authors_know(
    trained: Path, report: Path, tmp_path: Path
) -> None:
    content, markdown = card_of(trained, report, tmp_path / "card")
    assert "Research use only" in content["notices"][0]
    assert "Trained on synthetic phantoms, not for clinical use" in content["notices"][1]
    first_heading = markdown.index("## ")
    assert all(notice in markdown[:first_heading] for notice in content["notices"])
    assert {checklist["title"]: open_items(checklist) for checklist in content["checklists"]} == OPEN_OF_PHANTOMS
    assert any("do not carry over to patients" in limit for limit in content["limits"])


def test_a_card_of_patients_claims_nothing_of_phantoms_and_leaves_the_study_open(
    twin: Path, report: Path, tmp_path: Path
) -> None:
    model = with_training(twin, tmp_path / "hospital", TRAINING | {"data": {"kind": "archive of one hospital"}})
    content, markdown = card_of(model, report, tmp_path / "card")
    claim, _, stard, *_ = content["checklists"]
    assert "phantom" not in " ".join([*content["notices"], *content["limits"], *content["intended_use"]]).lower()
    assert "phantom" not in json.dumps(content["checklists"]).lower()
    assert all(checklist["counts"]["not applicable"] == 0 for checklist in content["checklists"])
    assert {5, 6, 14, 15, 16, 17, 18, 34} <= open_items(claim)
    assert {5, 7, 8, 9, 11, 20, 22, 25} <= open_items(stard)
    assert OPEN in row(markdown, "14", "Ground truth")[3]


def test_what_does_not_apply_to_phantoms_is_counted_apart(trained: Path, report: Path, tmp_path: Path) -> None:
    content, markdown = card_of(trained, report, tmp_path / "card")
    counts = {checklist["title"]: checklist["counts"] for checklist in content["checklists"]}
    assert {title: count["not applicable"] for title, count in counts.items()} == {
        "CLAIM 2020": 4,
        "CLAIM 2024": 5,
        "STARD 2015": 4,
        "STARD-AI 2025": 6,
        "TRIPOD+AI": 2,
    }
    assert "4 that do not apply to phantoms" in markdown
    assert row(markdown, "7", "Participants")[3] == "Does not apply to phantoms: there are no participants."


def test_an_item_that_is_answered_in_part_says_what_is_left(trained: Path, report: Path, tmp_path: Path) -> None:
    content, markdown = card_of(trained, report, tmp_path / "card")
    (item,) = [item for item in content["checklists"][0]["items"] if item["number"] == "37"]
    assert item["status"] == "partly"
    answer = row(markdown, "37", "Results: model")[3]
    assert item["text"] in answer
    assert answer.endswith(f"**{OPEN}: {item['open']}**")


def test_the_metrics_are_those_of_the_evaluation(trained: Path, report: Path, tmp_path: Path) -> None:
    content, markdown = card_of(trained, report, tmp_path / "card")
    expected = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    kept = {name: part for name, part in expected.items() if name not in {"roc", "calibration", "precision_recall"}}
    curve = kept.pop("decision_curve")
    few = content["evaluation"].pop("decision_curve")
    assert content["evaluation"] == kept
    assert few["threshold"] == [0.05, 0.1, 0.2, 0.3, 0.5, 0.7]
    assert few["net_benefit"][1] == curve["net_benefit"][9]

    def shown(figure: dict[str, float]) -> str:
        return "{value:.3f} ({low:.3f} to {high:.3f})".format(**figure)

    assert row(markdown, "ROC AUC")[1] == shown(expected["metrics"]["auc"])
    assert row(markdown, "calibration slope (1 is ideal)")[1] == shown(expected["metrics"]["calibration_slope"])
    assert row(markdown, "0.1")[1:] == [
        shown(
            {name: curve[column][9] for name, column in (("value", "net_benefit"), ("low", "low"), ("high", "high"))}
        ),
        f"{curve['treat_all'][9]:.3f}",
        "0",
    ]
    for point in expected["operating_points"].values():
        cells = row(markdown, f"{point['threshold']:g}", point["rule"])
        assert (cells[2], cells[7]) == (shown(point["metrics"]["sensitivity"]), shown(point["metrics"]["npv"]))
    for groups in expected["subgroups"].values():
        for name, group in groups.items():
            cells = row(markdown, name, str(group["n"]), str(group["positives"]))
            assert cells[3:] == [shown(group["metrics"][figure]) for figure in ("auc", "sensitivity", "specificity")]
    confusion = expected["operating_points"]["threshold"]["confusion"]
    assert f"{confusion['true_positives']} true positives" in row(markdown, "23", "Test results")[3]


def test_a_metric_that_is_not_defined_is_a_dash(trained: Path, report: Path, tmp_path: Path) -> None:
    changed = tmp_path / "metrics.json"
    content = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    undefined = {"value": None, "low": None, "high": None}
    content["subgroups"]["centre"]["A"]["metrics"]["auc"] = undefined
    content["operating_points"]["threshold"]["metrics"]["ppv"] = undefined
    changed.write_text(json.dumps(content), encoding="utf-8")
    _, markdown = card_of(trained, changed, tmp_path / "card")
    assert row(markdown, "A")[3] == "-"
    assert "| - |" in next(line for line in markdown.splitlines() if "| the threshold of the run |" in line)


def test_every_entry_of_the_training_is_shown(trained: Path, tmp_path: Path) -> None:
    content, markdown = card_of(trained, None, tmp_path / "card")
    assert content["training"] == TRAINING
    for words in (
        "    * A: negative 600; positive 240",
        "epochs 6; learning rate 0.0001; augmentation (flip, none)",
        TRAINING["road"],
        "```sh\nbsbatch-build phantom SET --seed 1\nbsbatch-build train SET/archive --out RUN\n```",
    ):
        assert words in markdown


def run_of(start: dict[str, Any], seed: int, **more: Any) -> dict[str, Any]:
    """Record of a training that another one started from, as export writes it."""
    return {
        "network": {"width": 0.25, "seed": seed},
        "recipe": {"epochs": 1},
        "tools": {"keras": "3"},
        "studies": {"train A": {"negative": 2, "positive": 1}},
        "history": [{"epoch": 1, "loss": 0.5, "validation_auc": float("nan")}],
        "start": start,
        **more,
    }


def exported(sha256: str, start: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The same of the training that is exported."""
    run = run_of(start, 9)
    configuration = {name: run[name] for name in ("network", "recipe", "tools")}
    data = {"kind": "phantoms", "studies": run["studies"]}
    origin = {"weights": "model.keras", "weights_sha256": sha256, "data": data, "history": run["history"]}
    return {**origin, "configuration": configuration, "initialisation": start, **more}


def test_trainings_are_listed_once_and_in_their_order(twin: Path, tmp_path: Path) -> None:
    first = {"weights": "model.keras", "sha256": "1" * 64, "run": run_of({"weights": "random"}, 1)}
    foreign = {"weights": "theirs.h5", "sha256": "f" * 64, "run": None}
    second = {"weights": "model.keras", "sha256": "2" * 64, "run": run_of(first, 2, average=foreign)}
    third = exported("3" * 64, {"mean_of": [first, second]})
    model = with_training(twin, tmp_path / "joined", exported("4" * 64, second, joined_with=[third], note="two"))
    content, markdown = card_of(model, None, tmp_path / "card")
    starts = {training["sha256"][0]: training["start"] for training in content["trainings"]}
    assert starts == {
        "1": "random weights, seed 1",
        "2": "the mean of training 1 and theirs.h5 (SHA-256 ffffffffffffffff)",
        "4": "training 2",
        "3": "the mean of training 1 and training 2",
    }
    assert content["training"] == {"data": third["data"], "note": "two"}
    assert [line for line in markdown.splitlines() if line.startswith("### Training")] == [
        f"### Training {number} of 4" for number in (1, 2, 3, 4)
    ]
    assert markdown.count("| 1 | 0.5 | - |") == 4
    answer = row(markdown, "24", "Model")[3]
    assert answer.startswith("training 1 from random weights, seed 1; training 2 from the mean of training 1 and")


@pytest.mark.parametrize("commands", ["make it", ["make it"], {"demo": "make it"}])
def test_commands_are_shown_however_they_were_written(commands: Any, twin: Path, tmp_path: Path) -> None:
    _, markdown = card_of(with_training(twin, tmp_path / "made", {"commands": commands}), None, tmp_path / "card")
    assert "\n```sh\nmake it" in markdown


def test_a_nan_of_a_training_is_null(twin: Path, tmp_path: Path) -> None:
    losses = {"epochs": [{"loss": 0.5, "auc": float("nan")}, {"loss": float("inf"), "auc": 0.75}]}
    content, markdown = card_of(with_training(twin, tmp_path / "diverged", losses), None, tmp_path / "card")
    assert content["training"] == {"epochs": [{"loss": 0.5, "auc": None}, {"loss": None, "auc": 0.75}]}
    assert "* epochs: (loss 0.5; auc -), (loss -; auc 0.75)" in markdown


def test_a_network_that_holds_several_is_called_an_ensemble(trained: Path, twin: Path, tmp_path: Path) -> None:
    shown = [card_of(folder, None, tmp_path / folder.name)[1] for folder in (trained, twin)]
    assert "One network that holds several: the mean of the logits of two." in shown[0]
    assert "None: one network." in shown[1]


def test_without_training_and_evaluation_the_card_says_that_they_are_missing(twin: Path, tmp_path: Path) -> None:
    content, markdown = card_of(with_training(twin, tmp_path / "bare", {}), None, tmp_path / "card")
    assert content["evaluation"] is None
    for title in ("Data", "Split", "Training"):
        assert f"## {title}\n\nNot recorded in the manifest ({OPEN})." in markdown
    assert f"## Metrics\n\nNot evaluated ({OPEN})" in markdown
    assert {28, 29, 36} <= open_items(content["checklists"][0])


def test_a_card_of_random_weights_says_that_they_are_not_trained(twin: Path, tmp_path: Path) -> None:
    content, markdown = card_of(twin, None, tmp_path)
    assert "not trained: random weights" in content["notices"][1]
    assert "scores mean nothing" in markdown


def test_an_incomplete_run_is_a_limit(trained: Path, report: Path, tmp_path: Path) -> None:
    changed = tmp_path / "metrics.json"
    shutil.copy(report / "metrics.json", changed)
    rewrite(changed, **unfinished(report))
    content, _ = card_of(trained, changed, tmp_path / "card")
    assert any("3 examinations with a label have no score" in limit for limit in content["limits"])
    assert any("interrupted" in limit for limit in content["limits"])


def test_the_same_card_is_written_to_the_byte_and_replaces_the_old_one(
    trained: Path, report: Path, tmp_path: Path
) -> None:
    first = card_of(trained, report, tmp_path / "card")
    assert card_of(trained, report / "metrics.json", tmp_path / "card") == first
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == ["card.json", "card.md"]
    assert markdown_of(first[0]) == first[1]


def test_characters_that_markdown_interprets_are_escaped(twin: Path, tmp_path: Path) -> None:
    model = with_training(twin, tmp_path / "odd", {"data": "a|b <b>c</b> *d*", "split": {"a|b": "c\nd"}})
    _, markdown = card_of(model, None, tmp_path / "card")
    assert "a|b &lt;b>c&lt;/b> \\*d\\*" in markdown
    assert row(markdown, "7", "Data")[3].startswith("a\\|b &lt;b>c&lt;/b> \\*d\\* **")
    assert "* a|b: c d" in markdown


def test_a_whole_evaluation_of_a_newer_version_is_refused(report: Path, tmp_path: Path) -> None:
    newer = json.loads((report / "metrics.json").read_text(encoding="utf-8")) | {"version": evaluated.VERSION + 1}
    (tmp_path / "metrics.json").write_text(json.dumps(newer), encoding="utf-8")

    with pytest.raises(UsageError, match="evaluate again"):
        metrics.read_metrics(tmp_path, newer["model_id"])


def test_an_evaluation_of_another_model_is_refused(trained: Path, report: Path, tmp_path: Path) -> None:
    changed = tmp_path / "metrics.json"
    shutil.copy(report / "metrics.json", changed)
    rewrite(changed, model_id="feed")
    with pytest.raises(UsageError, match="is of model feed, and this is"):
        make_card(CardSettings(trained, changed, tmp_path / "card"))
    assert not (tmp_path / "card").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "is no JSON"),
        ("[]", "no metrics.json of version 1"),
        ('{"version": 2}', "no metrics.json of version 1"),
        ('{"version": 1}', "no metrics.json of version 1"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_evaluation_is_refused(text: str | None, message: str, trained: Path, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        make_card(CardSettings(trained, tmp_path / "metrics.json", tmp_path / "card"))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no manifest\.json"):
        make_card(CardSettings(tmp_path))


def test_a_folder_that_cannot_be_written_to_is_refused(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be made"):
        make_card(CardSettings(trained, out=tmp_path / "file" / "below"))
    (tmp_path / "card" / "card.md").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write to"):
        make_card(CardSettings(trained, out=tmp_path / "card"))


def test_the_command_puts_the_card_into_the_model_directory_which_still_loads(trained: Path, report: Path) -> None:
    done = CliRunner().invoke(app, ["card", str(trained), "--evaluation", str(report)])
    assert done.exit_code == 0, done.output
    assert {"card.json", "card.md"} <= {path.name for path in trained.iterdir()}
    assert re.search(r"CLAIM 2020 +\d+ filled, \d+ partly, 5 open", done.stdout)
    assert re.search(r"STARD 2015 +\d+ filled, \d+ partly, 4 open", done.stdout)
    assert "not for clinical use" in done.stdout
    model_of(trained)
