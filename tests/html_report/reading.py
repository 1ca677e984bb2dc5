"""Content of a page, read without a browser."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


class Outline(HTMLParser):
    """Elements with an id, words outside scripts and styles, and every address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: list[str] = []
        self._words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.words = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name in {"src", "href", "action", "srcset", "data"} and value:
                self.addresses.append(value)

    def handle_data(self, data: str) -> None:
        if self._inside not in {"script", "style"}:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = ""


def outline_of(page: Path) -> Outline:
    """Read the page as it is without scripts."""
    return Outline(page.read_text(encoding="utf-8"))


def data_of(page: Path, name: str = "data") -> Any:
    """Read the data of the page's script."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def pictures_of(page: Path) -> list[Any]:
    """Read the images of the gallery, in its order."""
    sheets = re.findall(
        r'<script type="application/json" class="sheet">(.*?)</script>', page.read_text(encoding="utf-8")
    )
    return [picture for sheet in sheets for picture in json.loads(sheet)]
