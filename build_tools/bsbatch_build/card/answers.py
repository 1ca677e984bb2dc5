"""Fills in the statements and checklist items of the TOML files in this folder with the known facts."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from string import Template, ascii_lowercase
from typing import Any

from bsbatch_build.card.facts import Facts

CHECKLISTS = ("claim.toml", "claim2024.toml", "stard.toml", "stardai.toml", "tripodai.toml")
STATEMENTS = "statements.toml"

Entry = Mapping[str, Any]
"""A table of a TOML file."""


class ItemStatus(StrEnum):
    """Extent to which a checklist item is answered."""

    FILLED = "filled"
    PARTLY = "partly"
    """The user answers the rest."""
    OPEN = "open"
    INAPPLICABLE = "not applicable"
    """It does not apply to phantoms."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist, or one part of it."""

    number: str
    """For example ``12`` or ``12a``."""
    section: str
    item: str
    """Request of the checklist, in our own words."""
    status: ItemStatus
    text: str
    """The answer, or why the item does not apply; empty if it is open."""
    remainder: str
    """The part that the user must answer; empty unless the status is partly."""

    @property
    def base(self) -> str:
        """Number without the letter of the part."""
        return self.number.rstrip(ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Checklist:
    """A completed checklist."""

    title: str
    source: str
    items: tuple[Item, ...]

    def count(self, status: ItemStatus) -> int:
        """Count the numbered items of a status; an item in parts of different status counts as partly.

        Parts that do not apply count only where no other part does.
        """
        parts: dict[str, set[ItemStatus]] = {}
        for item in self.items:
            parts.setdefault(item.base, set()).add(item.status)
        parts = {base: statuses - {ItemStatus.INAPPLICABLE} or statuses for base, statuses in parts.items()}
        whole = [statuses.pop() if len(statuses) == 1 else ItemStatus.PARTLY for statuses in parts.values()]
        return whole.count(status)


def checklists(facts: Facts) -> tuple[Checklist, ...]:
    """Fill in every checklist."""
    files = (_read(name) for name in CHECKLISTS)
    return tuple(
        Checklist(file["title"], file["source"], tuple(_item(entry, facts) for entry in file["items"]))
        for file in files
    )


def statements(kind: str, facts: Facts) -> list[str]:
    """List the statements whose facts are known, of the kind ``intended_use``, ``out_of_scope`` or ``limits``."""
    answers = (_answer(entry, facts)[0] for entry in _read(STATEMENTS)[kind])
    return [text for text in answers if text]


def _item(entry: Entry, facts: Facts) -> Item:
    text, remainder = _answer(entry, facts)
    if facts.is_of_phantoms and "inapplicable" in entry:
        status, text, remainder = ItemStatus.INAPPLICABLE, entry["inapplicable"], ""
    else:
        status = ItemStatus.OPEN if not text else ItemStatus.PARTLY if remainder else ItemStatus.FILLED
    return Item(entry["number"], entry["section"], entry["item"], status, text, remainder)


def _answer(entry: Entry, facts: Facts) -> tuple[str, str]:
    """Answer, empty if there is none, and the part that it leaves to the user."""
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
    wordings = entry.get(key, [])
    return [wordings] if isinstance(wordings, str) else wordings


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("bsbatch_build.card") / name).read_text(encoding="utf-8"))
