"""Statements and checklist items as the TOML files of this folder word them, filled in with what is known."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from string import Template
from typing import Any

from bsbatch_build.card.facts import Facts

CHECKLISTS = ("claim.toml", "stard.toml")
STATEMENTS = "statements.toml"

Entry = Mapping[str, Any]


class Status(StrEnum):
    """How much of a checklist item the project can answer."""

    FILLED = "filled"
    PARTLY = "partly"
    """The rest is for the user."""
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist, or one part of it."""

    number: str
    """For example 12, or 12a."""
    section: str
    item: str
    """What the checklist asks for, in our own words."""
    status: Status
    text: str
    """The answer; empty where it is open."""
    remainder: str
    """What is left to the user where it is answered partly."""

    @property
    def base(self) -> str:
        """The number without the letter of the part."""
        return self.number.rstrip("ab")


@dataclass(frozen=True, slots=True)
class Checklist:
    """A checklist, filled in."""

    title: str
    source: str
    items: tuple[Item, ...]

    def count(self, status: Status) -> int:
        """Numbered items of a status; one in two parts is open where both are, and filled where both are."""
        parts: dict[str, set[Status]] = {}
        for item in self.items:
            parts.setdefault(item.base, set()).add(item.status)
        whole = [statuses.pop() if len(statuses) == 1 else Status.PARTLY for statuses in parts.values()]
        return whole.count(status)


def checklists(facts: Facts) -> tuple[Checklist, ...]:
    """Fill in every checklist."""
    read = (_read(name) for name in CHECKLISTS)
    return tuple(
        Checklist(file["title"], file["source"], tuple(_item(entry, facts) for entry in file["items"])) for file in read
    )


def statements(kind: str, facts: Facts) -> list[str]:
    """The statements of a kind that what is known allows: ``intended_use``, ``out_of_scope`` or ``limits``."""
    answers = (_answer(entry, facts)[0] for entry in _read(STATEMENTS)[kind])
    return [text for text in answers if text]


def _item(entry: Entry, facts: Facts) -> Item:
    text, remainder = _answer(entry, facts)
    status = Status.OPEN if not text else Status.PARTLY if remainder else Status.FILLED
    return Item(entry["number"], entry["section"], entry["item"], status, text, remainder)


def _answer(entry: Entry, facts: Facts) -> tuple[str, str]:
    """The answer, empty where there is none, and what it leaves to the user."""
    if "needs" in entry and entry["needs"] not in facts.known:
        return "", ""
    answers = [(text, "") for text in _wordings(entry, "phantoms")] if facts.is_of_phantoms else []
    if not answers:
        answers = [(text, entry.get("remainder", "")) for text in _wordings(entry, "text")]
    for text, remainder in answers:
        template = Template(text)
        if set(template.get_identifiers()) <= facts.known.keys():
            return template.substitute(facts.known), remainder
    return "", ""


def _wordings(entry: Entry, key: str) -> list[str]:
    found = entry.get(key, [])
    return [found] if isinstance(found, str) else found


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("bsbatch_build.card") / name).read_text(encoding="utf-8"))
