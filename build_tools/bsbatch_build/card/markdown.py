"""A model card in Markdown, out of its content."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bsbatch_build.card.answers import Status
from bsbatch_build.card.content import Content
from bsbatch_build.card.words import name_of, with_interval, words

OPEN = "open: for the user to fill in"
_RATES = ("sensitivity", "specificity", "accuracy", "f1", "ppv", "npv")
_SHORT = frozenset({"auc", "f1", "ppv", "npv"})
_OWN_SECTIONS = ("data", "split")
"""Entries of ``manifest.training`` that stand under a heading of their own."""

Row = Iterable[object]


def markdown_of(card: Content) -> str:
    """Write the card out."""
    training = [*_training(card["training"]), *_trainings(card["trainings"])]
    lines = [*_head(card), *training, *_evaluation(card["evaluation"]), *_tail(card)]
    return "\n".join(lines) + "\n"


def _head(card: Content) -> Iterator[str]:
    yield f"# Model card: {_plain(card['model']['name'])}"
    yield ""
    yield "  \n".join(f"> **{_plain(notice)}**" for notice in card["notices"])
    yield from _section("Model details", _table(("what", ""), _pairs(card["model"])))
    yield from _section("Intended use", _bullets(card["intended_use"]))
    yield from _section("Out of scope", _bullets(card["out_of_scope"]))


def _training(training: Mapping[str, Any]) -> Iterator[str]:
    for name in _OWN_SECTIONS:
        yield from _section(name.capitalize(), _listed(training.get(name)))
    rest = {name: value for name, value in training.items() if name not in (*_OWN_SECTIONS, "commands")}
    yield from _section("Training", _listed(rest or None))
    if training.get("commands"):
        yield from ("", "```sh", *_commands(training["commands"]), "```")


def _trainings(trainings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, training in enumerate(trainings, start=1):
        history = training["history"]
        yield from ("", f"### Training {number} of {len(trainings)}", "")
        yield from _table(("what", ""), _pairs({name: training[name] for name in training if name != "history"}))
        if history:
            yield from ("", *_table(map(name_of, history[0]), (map(words, epoch.values()) for epoch in history)))


def _commands(commands: Any) -> list[str]:
    """One line for each: of one command, a list, or a mapping with their purposes."""
    if isinstance(commands, Mapping):
        return [f"{command}  # {purpose}" for purpose, command in commands.items()]
    return [commands] if isinstance(commands, str) else list(map(str, commands))


def _evaluation(evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    if evaluation is None:
        yield from _section("Metrics", [f"Not evaluated ({OPEN}): `bsbatch-build card MODEL --evaluation REPORT`."])
        return
    yield from _section("Metrics", [_cohort(evaluation)])
    figures = {"auc": "ROC AUC", "brier": "Brier score"}
    rows = [(label, with_interval(evaluation["metrics"][name])) for name, label in figures.items()]
    yield from ("", *_table(("figure", "value (95 % interval)"), rows))
    points = evaluation["operating_points"].values()
    yield from ("", "### Operating points", "")
    yield from _table(("threshold", "rule", *map(_label, _RATES)), map(_point, points))
    yield from ("", "### Confusion", "")
    names = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    rows = [(f"{point['threshold']:g}", *(point["confusion"][name] for name in names)) for point in points]
    yield from _table(("threshold", *map(name_of, names)), rows)
    for kind, groups in evaluation["subgroups"].items():
        if groups:
            yield from ("", f"### By {kind}", "", *_groups(kind, groups))


def _cohort(evaluation: Mapping[str, Any]) -> str:
    counts, settings = evaluation["counts"], evaluation["settings"]
    return (
        f"{counts['n']} examinations of {counts['patients']} patients, {counts['positives']} with metastasis, "
        f"{counts['negatives']} without. Intervals: {settings['interval']}, {settings['resamples']} resamples, seed "
        f"{settings['seed']}; {settings['resampling_note']}. Thresholds chosen on this sample flatter it. PPV and NPV "
        f"are those at a prevalence of {settings['prevalence']:.1%}. Configuration of the run: "
        f"`{evaluation['config_hash']}`."
    )


def _point(point: Mapping[str, Any]) -> Row:
    return (f"{point['threshold']:g}", point["rule"], *(with_interval(point["metrics"][name]) for name in _RATES))


def _groups(kind: str, groups: Mapping[str, Any]) -> Iterator[str]:
    names = ("auc", "sensitivity", "specificity")
    rows = (
        (name, group["n"], group["positives"], *(with_interval(group["metrics"][figure]) for figure in names))
        for name, group in groups.items()
    )
    if kind == "lesions":
        yield "The positives of each lesion load against all negatives."
        yield ""
    yield from _table((kind, "n", "positives", *map(_label, names)), rows)


def _tail(card: Content) -> Iterator[str]:
    yield from _section("Limits", _bullets(card["limits"]))
    for checklist in card["checklists"]:
        yield from _section(f"{checklist['title']} checklist", [_counted(checklist), *card["assumptions"]])
        yield from ("", *_table(("item", "section", "asks for", "answer"), map(_answered, checklist["items"])))


def _counted(checklist: Mapping[str, Any]) -> str:
    counts = checklist["counts"]
    return (
        f"{counts[Status.FILLED]} items filled in, {counts[Status.PARTLY]} partly, {counts[Status.OPEN]} open. The "
        f"wording is ours; the checklist: {checklist['source']}."
    )


def _answered(item: Mapping[str, Any]) -> Row:
    if item["status"] == Status.OPEN:
        return item["number"], item["section"], item["item"], f"**{OPEN}**"
    rest = f" **{OPEN}: {item['open']}**" if item["open"] else ""
    return item["number"], item["section"], item["item"], _plain(item["text"]) + rest


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", *lines)


def _listed(value: Any) -> Iterator[str]:
    """A free value as nested bullets."""
    if value is None:
        yield f"Not recorded in the manifest ({OPEN})."
    elif isinstance(value, Mapping):
        yield from _nested(value, "")
    else:
        yield _plain(words(value))


def _nested(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in mapping.items():
        if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
            yield f"{indent}* {_plain(name_of(name))}:"
            yield from _nested(value, indent + "  ")
        else:
            yield f"{indent}* {_plain(name_of(name))}: {_plain(words(value))}"


def _pairs(mapping: Mapping[str, Any]) -> Iterator[Row]:
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
    """Text on one line that Markdown leaves as it is."""
    return " ".join(text.split()).replace("<", "&lt;").replace("*", "\\*")
