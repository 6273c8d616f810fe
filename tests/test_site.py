"""The documentation as a site, and the pages and pictures of it that follow from the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import make_reference
import pytest_editeval
from pytest_editeval import statuses
from pytest_editeval.registry import BUILTIN_METRICS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MOST_BYTES, MOST_BYTES_IN_ALL = 60_000, 1_300_000
PULLED_IN = (
    r"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href|srcset)=["']([^"']+)|@import[^;]+|url\(([^)]+)\)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
    built = subprocess.run(
        [*command, "-d", str(folder / "trees"), str(DOCS), str(folder / "html")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stderr) == (0, "")
    return folder / "html"


def test_the_site_pulls_nothing_from_elsewhere(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    pulled = [
        (file.name, target)
        for file in files
        for found in re.finditer(PULLED_IN, file.read_text("utf-8"))
        for target in [found[1] or found[2] or found[0]]
        if re.match(r"[\"']?(https?:)?//", target) or target.startswith("@import")
    ]
    assert len(files) > 20
    assert pulled == []


def test_every_page_is_on_the_site_and_formulas_are_drawn(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        if "_build" not in page.parts:
            assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page.name
    metrics = (site / "metrics.html").read_text("utf-8")
    assert metrics.count('<div class="formula"><math') == (DOCS / "metrics.md").read_text("utf-8").count("```math") > 3
    assert "\\frac" not in metrics


@pytest.mark.parametrize("page", make_reference.PAGES)
def test_a_page_that_follows_from_the_code_is_current(page: str) -> None:
    """`make reference` writes it anew."""
    assert (DOCS / "reference" / page).read_text("utf-8") == make_reference.PAGES[page]()


@pytest.mark.parametrize("name", [name for name in pytest_editeval.__all__ if name != "__version__"])
def test_every_public_name_is_in_the_api(name: str) -> None:
    assert re.search(rf"^\.\. auto\w+:: pytest_editeval\.{name}\b", (DOCS / "api.md").read_text("utf-8"), re.MULTILINE)


def test_every_exit_status_is_explained() -> None:
    text = (DOCS / "gating.md").read_text("utf-8").partition("## Exit status")[2]
    known = {value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    assert known
    assert known <= {
        int(number) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for number in row.split(",")
    }


@pytest.mark.parametrize("metric", [spec.name for spec in BUILTIN_METRICS])
def test_every_metric_has_its_picture(metric: str) -> None:
    path = DOCS / "pictures" / f"{metric}.webp"
    assert f"(pictures/{path.name})" in (DOCS / "metrics.md").read_text("utf-8")
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as image:
        assert image.width >= 800


def test_pictures_are_small_and_shown() -> None:
    pictures = list((DOCS / "pictures").iterdir())
    assert sum(path.stat().st_size for path in pictures) <= MOST_BYTES_IN_ALL
    pages = "".join(page.read_text("utf-8") for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"))
    assert [path.name for path in pictures if f"pictures/{path.name}" not in pages] == []
