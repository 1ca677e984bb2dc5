"""Random studies with the habits of archives, and a table of how pairing decides them.

``python -m tests.dicom.habits --count 10000`` prints the table of docs/tables.md.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.dicom.objects import ref, scan

from bsbatch.dicom.labels import label_of
from bsbatch.dicom.pairing import decide
from bsbatch.reasons import Reason
from bsbatch.records import Examination, ScanObject

_HOUR = 3600.0
_DAY = 24 * _HOUR
_DERIVED = ("DERIVED", "PRIMARY", "WHOLE BODY", "EMISSION")

CHOICES: dict[str, tuple[str, ...]] = {
    "heads": ("two heads, one object", "two heads, two objects", "one head"),
    "scans": (
        "one scan",
        "early and late scan",
        "a view repeated",
        "a scan repeated",
        "two patients under one study UID",
    ),
    "series": ("one series", "a series for each scan", "a series for each view"),
    "reference": ("no Frame of Reference", "one Frame of Reference", "one for each scan"),
    "times": (
        "times kept",
        "times removed",
        "times and dates removed",
        "times 000000",
        "times all the same",
        "around midnight",
    ),
    "texts": ("no texts", "texts name the view", "texts name hours"),
    "patient": ("Patient ID kept", "Patient ID removed", "Patient ID in some views"),
    "copies": (
        "no copies",
        "objects sent twice",
        "objects sent again under other UIDs",
        "processed copies beside the originals",
    ),
}
"""Habits that each study draws one of, by kind."""

Habits = dict[str, str]


class Truth(NamedTuple):
    """What a view really shows."""

    patient: int
    acquisition: int


@dataclass(frozen=True, slots=True)
class Study:
    """Objects of one Study Instance UID."""

    habits: Habits
    scans: tuple[ScanObject, ...]
    truths: dict[str, Truth]
    """By source."""
    pixels: dict[str, str]
    """Content by source; equal for copies."""


class _View(NamedTuple):
    truth: Truth
    view: str
    start: float
    """Seconds since the first day began."""


def draw_study(luck: random.Random) -> Study:
    """Draw a study of one to four acquisitions."""
    habits = {kind: luck.choice(choices) for kind, choices in CHOICES.items()}
    views = list(_acquire(habits, luck))
    objects = list(_store(views, habits, luck))
    made = [_make(group, number, habits, luck) for number, group in enumerate(objects)]
    truths = {item.ref.source: group[0].truth for item, group in zip(made, objects, strict=True)}
    pixels = {item.ref.source: item.ref.source for item in made}
    for item, group in zip(list(made), objects, strict=True):
        copy = _copy(item, habits, luck)
        if copy is not None:
            made.append(copy)
            truths[copy.ref.source] = group[0].truth
            is_processed = copy.header.image_type == _DERIVED
            pixels[copy.ref.source] = copy.ref.source if is_processed else item.ref.source
    luck.shuffle(made)
    return Study(habits, tuple(made), truths, pixels)


def tally(study: Study) -> Counter[str]:
    """Count the pairs that are right and wrong, and what became of the acquisitions with both views."""
    views: dict[Truth, set[str]] = {}
    for item in study.scans:
        views.setdefault(study.truths[item.ref.source], set()).update(frame.view for frame in item.frames)
    complete = {truth for truth, seen in views.items() if len(seen) > 1}
    counts = Counter({"acquisitions": len(complete)})
    paired, ambiguous = Counter[Truth](), set[Truth]()
    for event in decide(study.scans, lambda item: {frame.view: study.pixels[item.ref.source] for frame in item.frames}):
        if not isinstance(event, Examination):
            continue
        truths = {study.truths[item.ref.source] for item in event.scans}
        if event.defect is None:
            counts["wrong"] += len(truths) > 1
            paired.update(truths if len(truths) == 1 else ())
        elif event.defect.reason is Reason.AMBIGUOUS_PAIRING:
            ambiguous |= truths
    counts["twice"] = sum(number - 1 for number in paired.values())
    counts["paired"] = len(complete & paired.keys())
    counts["ambiguous"] = len(complete & ambiguous - paired.keys())
    counts["alone"] = len(complete - ambiguous - paired.keys())
    return counts


def table(count: int, seed: int) -> tuple[str, Counter[str]]:
    """Return the table in Markdown, by habit, and the counts over all studies."""
    luck, total, by_habit = random.Random(seed), Counter[str](), dict[str, Counter[str]]()
    for _ in range(count):
        study = draw_study(luck)
        counts = tally(study)
        total += counts
        for habit in study.habits.values():
            by_habit.setdefault(habit, Counter()).update(counts)
    lines = [
        "| habit | acquisitions | paired | ambiguous | alone | wrong |",
        "|---|---|---|---|---|---|",
        _line("all", total),
    ]
    lines += [_line(habit, by_habit[habit]) for choices in CHOICES.values() for habit in choices if habit in by_habit]
    return "\n".join(lines), total


def _line(habit: str, counts: Counter[str]) -> str:
    shares = (
        f"{100 * counts[name] / max(1, counts['acquisitions']):.1f} %" for name in ("paired", "ambiguous", "alone")
    )
    return f"| {habit} | {counts['acquisitions']} | {' | '.join(shares)} | {counts['wrong'] + counts['twice']} |"


def _acquire(habits: Habits, luck: random.Random) -> Iterator[_View]:
    """Yield the views of a study with their true times."""
    start = luck.uniform(8, 15) * _HOUR
    if habits["times"] == "around midnight":
        start = luck.uniform(23.4, 23.99) * _HOUR
    yield from _scan(Truth(0, 0), start, habits, luck)
    kind = habits["scans"]
    if kind == "early and late scan":
        yield from _scan(Truth(0, 1), start + luck.choice([luck.uniform(2, 4) * _HOUR, _DAY]), habits, luck)
    elif kind == "two patients under one study UID":
        yield from _scan(Truth(1, 1), start + luck.uniform(60, 3 * _HOUR), habits, luck)
    elif kind == "a scan repeated":
        wait = luck.uniform(1, 3) if habits["heads"] != "one head" else luck.uniform(40, 70)
        yield from _scan(Truth(0, 1), start + wait * 60, habits, luck)
    elif kind == "a view repeated":
        yield _View(Truth(0, 1), luck.choice("AP"), start - luck.uniform(60, 600))


def _scan(truth: Truth, start: float, habits: Habits, luck: random.Random) -> Iterator[_View]:
    first, second = luck.choice([("A", "P"), ("P", "A")])
    delay = luck.uniform(8, 30) * 60 if habits["heads"] == "one head" else luck.choice([0.0, luck.uniform(0, 3)])
    yield _View(truth, first, start)
    yield _View(truth, second, start + delay)


def _store(views: list[_View], habits: Habits, luck: random.Random) -> Iterator[list[_View]]:
    """Yield the views of each object."""
    truths = dict.fromkeys(view.truth for view in views)
    for truth in truths:
        mine = [view for view in views if view.truth == truth]
        if habits["heads"] == "two heads, one object" and len(mine) > 1 and luck.random() < 0.9:
            yield mine
        else:
            yield from ([view] for view in mine)


def _make(views: list[_View], number: int, habits: Habits, luck: random.Random) -> ScanObject:
    first, names = views[0], "".join(view.view for view in views)
    truth = first.truth
    date, time = _stamp(first.start, habits)
    patient = {"Patient ID kept": True, "Patient ID removed": False}.get(habits["patient"], luck.random() < 0.5)
    group = {"one series": 0, "a series for each scan": truth.acquisition}.get(habits["series"], 100 + number)
    reference = {"no Frame of Reference": None, "one Frame of Reference": 0}.get(habits["reference"], truth.acquisition)
    text = {"no texts": "", "texts name the view": f"WB {names}"}.get(
        habits["texts"], f"WB {3 + 3 * truth.acquisition}H {names}"
    )
    made = scan(
        names,
        f"{luck.randrange(10**9):09d}-{number}",
        sop_uid=f"1.2.3.4.{number}",
        series_uid=f"1.2.3.{group}",
        frame_of_reference_uid=None if reference is None else f"1.2.9.{reference}",
        acquisition_date=date,
        acquisition_time=time,
        patient_id=f"{truth.patient}" if patient else None,
        descriptions=(text,) if text else (),
    )
    return made._replace(label=label_of(made.header))


def _stamp(start: float, habits: Habits) -> tuple[str | None, str | None]:
    """Return Acquisition Date and Time as the archive keeps them."""
    day, seconds = divmod(start, _DAY)
    date, kind = f"2020010{1 + int(day)}", habits["times"]
    time = f"{int(seconds // _HOUR):02d}{int(seconds % _HOUR // 60):02d}{seconds % 60:05.2f}"
    if kind == "times and dates removed":
        return None, None
    return date, {"times removed": None, "times 000000": "000000", "times all the same": "120000"}.get(kind, time)


def _copy(item: ScanObject, habits: Habits, luck: random.Random) -> ScanObject | None:
    """Return a copy of an object, as often as not, if the archive has that habit."""
    kind = habits["copies"]
    if kind == "no copies" or luck.random() < 0.5:
        return None
    source, uid = f"{luck.randrange(10**9):09d}-copy", item.header.sop_uid
    header = item.header if kind == "objects sent twice" else item.header._replace(sop_uid=f"{uid}.{source[:9]}")
    if kind == "processed copies beside the originals":
        header = header._replace(image_type=_DERIVED)
    return item._replace(ref=ref(source), header=header)


def main() -> None:
    """Print the table, and end with an error if a pair is wrong."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines, total = table(options.count, options.seed)
    sys.stdout.write(lines + "\n")
    sys.exit(total["wrong"] + total["twice"] > 0)


if __name__ == "__main__":
    main()
