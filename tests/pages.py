"""Pages of results for tests of them: images and details of checks, and what stands in a page."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

import rows
from pytest_editeval.reports.html.page import PageSettings, write_page
from pytest_editeval.reports.verdict import RunNotes
from pytest_editeval.results import CheckResult, GateResult, GateSlice, Outcome

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]></style><svg onload=alert(1)>",
    '&lt;b&gt; &amp;quot; "\' onclick=alert(1) x="',
    "{{ 7 * 7 }}{% raw %}${1}`",
    "\x00\x07\x1b[31m\x7f\x85",
    "שלום עולם",
    "\u202eevil\u202c\u2066\u200b",
    "👩‍👩‍👧 日本語",
    "new\nline\r\n\u2028tab\t",
    "javascript:alert(1)//#&=%2F+?",
]


def check(source: Path | str = "", edited: Path | str = "", **overrides: Any) -> CheckResult:
    """A check of `region_emd` that has no images unless they are given, and no digests of them."""
    usual = {"source": str(source), "edited": str(edited), "source_digest": None, "edited_digest": None}
    return rows.result(**(usual | overrides))


def soft(**overrides: Any) -> CheckResult:
    return check(**{"outcome": Outcome.SOFT_FAILURE, "reason": "no-patch-selected", "detail": "none"} | overrides)


def patches(compared: str, shares: Sequence[float] | None, side: int, area: Sequence[float]) -> dict[str, Any]:
    """The patches of a check as results have them: shares in [0, 1] of all, compared or not, as 16-bit numbers."""
    data: dict[str, Any] = {"rows": side, "columns": side, "area": list(area), "compared": compared}
    if shares is not None:
        numbers = struct.pack(f"<{len(shares)}H", *(round(share * 65535) for share in shares))
        data["shares"] = base64.b64encode(numbers).decode("ascii")
    return {"patches": data}


def gate(*slices: GateSlice, **overrides: Any) -> GateResult:
    fields: dict[str, Any] = {
        "node_id": "gate",
        "rule": "mean of region_emd ≤ 4",
        "place": "gates.yaml:3",
        "candidate": None,
        "metric": "region_emd",
        "statistic": "mean",
        "threshold": 4.0,
        "confidence": 0.95,
        "higher_is_better": False,
        "slices": slices,
    }
    return GateResult(**(fields | overrides))


def save(path: Path, color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (96, 96)) -> Path:
    """An image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


class Page(HTMLParser):
    """What a parser that knows nothing of the page finds in it: elements with their attributes, texts, JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: dict[str, str] = {}
        self.style = ""
        self._raw: tuple[str, str] | None = None
        self.feed(text)
        self.close()
        self.data: dict[str, Any] = json.loads(self.scripts["data"], parse_constant=_no_json)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = (tag, dict(attrs).get("id") or "") if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw is None:
            self.texts.append(data)
        elif self._raw[0] == "style":
            self.style += data
        else:
            self.scripts[self._raw[1]] = self.scripts.get(self._raw[1], "") + data

    @property
    def text(self) -> str:
        """What stands in it as text, its white space made even."""
        return " ".join("".join(self.texts).split())

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Elements in their order, with the names of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def image(self, number: int) -> bytes:
        """The bytes of an embedded image."""
        return base64.b64decode(self.scripts[f"image-{number}"], validate=True)


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def page(
    folder: Path,
    results: Sequence[CheckResult],
    gates: Sequence[GateResult] = (),
    notes: RunNotes | None = None,
    **settings: Any,
) -> Page:
    """The page of these results, written into `folder` and read again."""
    path = folder / "report.html"
    write_page(path, results, gates, notes or RunNotes(), PageSettings(**settings))
    return Page(path.read_text("utf-8"))
