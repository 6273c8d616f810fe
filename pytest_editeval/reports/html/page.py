"""The report as one HTML file that opens from disk, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_editeval import __version__
from pytest_editeval.confinement import Confinement
from pytest_editeval.errors import EditEvalError, display_path
from pytest_editeval.escapes import visible
from pytest_editeval.reports.html.anchors import anchor
from pytest_editeval.reports.html.charts import HEIGHT, INTERVAL_WIDTH, WIDTH
from pytest_editeval.reports.html.contents import case_data
from pytest_editeval.reports.html.pictures import SIDE, Mode, Pictures, bodies
from pytest_editeval.reports.html.tables import gate_table, measured_with, metric_table, slowest, soft_table, task_table
from pytest_editeval.reports.standing import standing
from pytest_editeval.reports.text import named, number
from pytest_editeval.reports.verdict import RunNotes, verdict
from pytest_editeval.results import CheckResult, GateResult, Outcome
from pytest_editeval.whole_file import written_whole

ASSETS = Path(__file__).parent
STYLES = ("page.css", "case.css")
SCRIPTS = ("state.js", "pictures.js", "overlays.js", "scale.js", "cases.js", "stage.js", "case.js", "start.js")
LEFT_OUT_SHOWN = 20


@dataclass(frozen=True)
class PageSettings:
    """How images come into the page: embedded or linked, and the longer side of a thumbnail in pixels.

    A side of `None` leaves them as they are. Relative names are looked for in the `roots`. What is
    outside the `confinement` is not read.
    """

    images: Mode = "embed"
    side: int | None = SIDE
    roots: Sequence[Path] = field(default_factory=lambda: (Path(),))
    confinement: Confinement | None = None


@dataclass(frozen=True)
class Written:
    """What was written: cases of candidates, bytes, and the images that could not be shown."""

    cases: int
    size: int
    missing: Sequence[str]


def page_lines(path: Path, written: Written) -> list[str]:
    """What a terminal says of a page that was written."""
    cases = f"{written.cases:,} case{'' if written.cases == 1 else 's'}"
    lines = [f"report: {display_path(path)} ({cases}, {written.size / 1e6:.1f} MB)"]
    if written.missing:
        count = f"{len(written.missing):,} {'image' if len(written.missing) == 1 else 'images'}"
        lines.append(f"report: {count} could not be had: {named(written.missing, 3)}")
    return [visible(line) for line in lines]


def check_can_render(subject: str) -> None:
    """Raises an `EditEvalError` that begins with `subject` where Jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise EditEvalError(f"{subject}: the page needs Jinja2; pip install 'pytest-editeval[report]'") from None


def write_page(
    path: Path,
    results: Sequence[CheckResult],
    gates: Sequence[GateResult],
    notes: RunNotes,
    settings: PageSettings | None = None,
) -> Written:
    """Write the page; a file that is there is replaced as a whole. Raises `OSError`, and leaves that file."""
    settings = settings or PageSettings()
    pictures = Pictures(
        path.absolute().parent,
        mode=settings.images,
        side=settings.side,
        roots=settings.roots,
        confinement=settings.confinement,
    )
    cases = case_data(results, pictures)
    prepared = pictures.prepared()
    data = {"cases": cases, "images": [picture.to_data() for picture in prepared], "names": _names(results)}
    with written_whole(path) as unfinished:
        with unfinished.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
            for part in _rendered(results, gates, notes, data, settings):
                stream.write(part)
            for number_, picture in bodies(prepared):
                body = base64.b64encode(picture.data).decode("ascii")
                stream.write(f'<script type="text/plain" id="image-{number_}">{body}</script>\n')
            stream.write("</body>\n</html>\n")
        size = unfinished.stat().st_size
    return Written(len(cases), size, [picture.name for picture in prepared if picture.size is None])


def _rendered(
    results: Sequence[CheckResult],
    gates: Sequence[GateResult],
    notes: RunNotes,
    data: dict[str, Any],
    settings: PageSettings,
) -> Iterator[str]:
    """The page up to the images, which follow so that the browser can show what comes before them."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"visible": visible, "number": number}
    template = environment.from_string((ASSETS / "page.html").read_text("utf-8"))
    style = "\n".join((ASSETS / name).read_text("utf-8") for name in STYLES)
    body = "\n".join((ASSETS / name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{body}\n}})();\n'
    checks = [result for result in results if result.control is None]
    metrics, tasks = task_table(checks)
    yield from template.generate(
        Outcome=Outcome,
        anchor=anchor,
        chart_size=(WIDTH, HEIGHT),
        data=_json(data),
        facts=measured_with(checks),
        gates=gate_table(gates),
        interval_width=INTERVAL_WIDTH,
        metrics=metric_table(checks),
        notes=notes,
        left_out_shown=LEFT_OUT_SHOWN,
        policy=_policy(script, style, settings.images),
        script=script,
        slowest=slowest(checks),
        soft=soft_table(checks),
        standing=standing(results, soft_fail=notes.soft_fail, runxfail=notes.runxfail),
        style=style,
        task_metrics=metrics,
        tasks=tasks,
        verdict=verdict(results, gates, notes),
        version=__version__,
    )


def _names(results: Sequence[CheckResult]) -> dict[str, list[str]]:
    """What can be filtered by, in order."""
    checks = [result for result in results if result.control is None]
    return {
        "metric": sorted({visible(result.metric) for result in checks}),
        "tag": sorted({visible(tag) for result in checks for tag in result.tags}),
        "candidate": sorted({visible(result.candidate) for result in checks if result.candidate}),
    }


def _json(data: object) -> str:
    """JSON that no parser of HTML takes for markup."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(script: str, style: str, images: Mode) -> str:
    """The page's content security policy: its own script and style, and nothing from anywhere else."""
    sources = "data:" if images == "embed" else "data: 'self' file:"
    return f"default-src 'none'; img-src {sources}; style-src {_hash(style)}; script-src {_hash(script)}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
