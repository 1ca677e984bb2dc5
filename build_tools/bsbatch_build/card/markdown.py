"""Renders the content of a model card as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from bsbatch_build.card.answers import ItemStatus
from bsbatch_build.card.content import Content
from bsbatch_build.card.lineage import Training
from bsbatch_build.card.metrics import ReportedEvaluation, ReportedPoint, Subgroup
from bsbatch_build.card.words import name_of, with_interval, words

OPEN = "open: for the user to fill in"
_RATES = ("sensitivity", "specificity", "accuracy", "f1", "ppv", "npv")
_METRICS = {
    "auc": "ROC AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
    "calibration_slope": "calibration slope (1 is ideal)",
    "calibration_intercept": "calibration intercept (0 is ideal)",
}
_BENEFIT = (
    "For somebody who acts from this probability of metastasis on: true positives for each examination, less the "
    "false positives at the price that the threshold puts on them. The model is of use where it exceeds both others."
)
_SHORT = frozenset({"auc", "f1", "ppv", "npv"})
_OWN_SECTIONS = ("data", "split")
"""Entries of ``manifest.training`` with a heading of their own."""

Row = Iterable[object]


def markdown_of(card: Content) -> str:
    """Render the content of ``card.json``."""
    training = [*_training(card["training"]), *_trainings([Training(**entry) for entry in card["trainings"]])]
    evaluation = None if card["evaluation"] is None else ReportedEvaluation.parse(card["evaluation"])
    lines = [*_head(card), *training, *_evaluation(evaluation), *_tail(card)]
    return "\n".join(lines) + "\n"


def _head(card: Content) -> Iterator[str]:
    yield f"# Model card: {_plain(card['model']['name'])}"
    yield ""
    yield "  \n".join(f"> **{_plain(notice)}**" for notice in card["notices"])
    yield from _section("Model details", _table(("what", ""), _pairs(card["model"])))
    yield from _section("Intended use", _bullets(card["intended_use"]))
    yield from _section("Out of scope", _bullets(card["out_of_scope"]))


def _training(training: Mapping[str, object]) -> Iterator[str]:
    for name in _OWN_SECTIONS:
        yield from _section(name.capitalize(), _list(training.get(name)))
    rest = {name: value for name, value in training.items() if name not in (*_OWN_SECTIONS, "commands")}
    yield from _section("Training", _list(rest or None))
    if training.get("commands"):
        yield from ("", "```sh", *_commands(training["commands"]), "```")


def _trainings(trainings: Sequence[Training]) -> Iterator[str]:
    for number, training in enumerate(trainings, start=1):
        fields, history = asdict(training), training.history
        yield from ("", f"### Training {number} of {len(trainings)}", "")
        yield from _table(("what", ""), _pairs({name: fields[name] for name in fields if name != "history"}))
        if history:
            yield from ("", *_table(map(name_of, history[0]), (map(words, epoch.values()) for epoch in history)))


def _commands(commands: object) -> list[str]:
    """One line for each command, given as one text, a list, or a mapping from purpose to command."""
    if isinstance(commands, Mapping):
        return [f"{command}  # {purpose}" for purpose, command in commands.items()]
    return list(map(str, commands)) if isinstance(commands, list | tuple) else [str(commands)]


def _evaluation(evaluation: ReportedEvaluation | None) -> Iterator[str]:
    if evaluation is None:
        yield from _section("Metrics", [f"Not evaluated ({OPEN}): `bsbatch-build card MODEL --evaluation REPORT`."])
        return
    yield from _section("Metrics", [_cohort(evaluation)])
    found = evaluation.metrics
    rows = [(label, with_interval(found[name])) for name, label in _METRICS.items() if name in found]
    yield from ("", *_table(("metric", "value (95 % interval)"), rows))
    yield from _decisions(evaluation)
    points = evaluation.operating_points.values()
    yield from ("", "### Operating points", "")
    yield from _table(("threshold", "rule", *map(_label, _RATES)), map(_point, points))
    yield from ("", "### Confusion", "")
    names = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    counts = [(f"{point.threshold:g}", *(point.confusion[name] for name in names)) for point in points]
    yield from _table(("threshold", *map(name_of, names)), counts)
    for kind, groups in evaluation.subgroups.items():
        if groups:
            yield from ("", f"### By {name_of(kind)}", "", *_groups(kind, groups))


def _decisions(evaluation: ReportedEvaluation) -> Iterator[str]:
    if evaluation.decisions:
        yield from ("", "### Net benefit of decisions", "", _BENEFIT, "")
        rows = [
            (f"{item.threshold:g}", with_interval(item.net_benefit), f"{item.treat_all:.3f}", "0")
            for item in evaluation.decisions
        ]
        yield from _table(("threshold probability", "model", "all positive", "none positive"), rows)


def _cohort(evaluation: ReportedEvaluation) -> str:
    counts, settings = evaluation.counts, evaluation.settings
    return (
        f"{counts['n']} examinations of {counts['patients']} patients, {counts['positives']} with metastasis, "
        f"{counts['negatives']} without. Intervals: {settings['interval']}, {settings['resamples']} resamples, seed "
        f"{settings['seed']}; {settings['resampling_note']}. Thresholds chosen on this sample give optimistic "
        f"metrics. PPV and NPV are those at a prevalence of {evaluation.prevalence:.1%}. Configuration of the run: "
        f"`{evaluation.config_hash}`."
    )


def _point(point: ReportedPoint) -> Row:
    return (f"{point.threshold:g}", point.rule, *(with_interval(point.metrics[name]) for name in _RATES))


def _groups(kind: str, groups: Mapping[str, Subgroup]) -> Iterator[str]:
    names = ("auc", "sensitivity", "specificity")
    rows = (
        (name, group.n, group.positives, *(with_interval(group.metrics[metric]) for metric in names))
        for name, group in groups.items()
    )
    if kind == "lesions":
        yield "The positives of each lesion load, compared with all negatives."
        yield ""
    yield from _table((kind, "n", "positives", *map(_label, names)), rows)


def _tail(card: Content) -> Iterator[str]:
    yield from _section("Limits", _bullets(card["limits"]))
    for checklist in card["checklists"]:
        yield from _section(f"{checklist['title']} checklist", [_count_line(checklist), *card["assumptions"]])
        yield from ("", *_table(("item", "section", "asks for", "answer"), map(_answer_row, checklist["items"])))


def _count_line(checklist: Content) -> str:
    counts = checklist["counts"]
    return (
        f"{counts[ItemStatus.FILLED]} items filled in, {counts[ItemStatus.PARTLY]} partly, "
        f"{counts[ItemStatus.OPEN]} open, {counts[ItemStatus.INAPPLICABLE]} that do not apply to phantoms. "
        f"The wording is ours; the checklist: {checklist['source']}."
    )


def _answer_row(item: Content) -> Row:
    if item["status"] == ItemStatus.OPEN:
        return item["number"], item["section"], item["item"], f"**{OPEN}**"
    if item["status"] == ItemStatus.INAPPLICABLE:
        return item["number"], item["section"], item["item"], f"Does not apply to phantoms: {_plain(item['text'])}"
    rest = f" **{OPEN}: {item['open']}**" if item["open"] else ""
    return item["number"], item["section"], item["item"], _plain(item["text"]) + rest


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", *lines)


def _list(value: object) -> Iterator[str]:
    """Format a value of the manifest as nested bullets."""
    if value is None:
        yield f"Not recorded in the manifest ({OPEN})."
    elif isinstance(value, Mapping):
        yield from _nest(value, "")
    else:
        yield _plain(words(value))


def _nest(mapping: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, value in mapping.items():
        if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
            yield f"{indent}* {_plain(name_of(name))}:"
            yield from _nest(value, indent + "  ")
        else:
            yield f"{indent}* {_plain(name_of(name))}: {_plain(words(value))}"


def _pairs(mapping: Mapping[str, object]) -> Iterator[Row]:
    return ((name_of(name), words(value)) for name, value in mapping.items())


def _bullets(lines: Iterable[str]) -> list[str]:
    return [f"* {_plain(line)}" for line in lines]


def _table(header: Iterable[str], rows: Iterable[Row]) -> Iterator[str]:
    cells = list(header)
    yield _line(cells)
    yield _line(["---"] * len(cells))
    yield from (_line(row) for row in rows)


def _line(cells: Row) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _label(name: str) -> str:
    return name.upper() if name in _SHORT else name


def _plain(text: str) -> str:
    """Put text on one line and escape the characters that Markdown interprets."""
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
