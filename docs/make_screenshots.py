"""Make the pictures of the README, docs/report.md and docs/plots.md: `make screenshots`.

Runs pytest on some of the repository's own cases, in which what leaked has to pass, and looks at the page in Chromium
and at the terminal's output, drawn by Chromium as well; then draws plots of all the repository's cases.
"""

from __future__ import annotations

import html
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
CASE = "#case=cases/coffee/leaked_matcha&check=region_emd"
SCREEN = {"width": 1360, "height": 900}
GATES = """
profile: embedded
gates:
  - {metric: region_emd, statistic: mean, threshold: 1.5, confidence: 0.95}
  - {metric: sam_dino_cls_sim, statistic: min, threshold: 0.8}
  - {statistic: soft_failure_rate, threshold: 0.15}
"""
COLORS = {"31": "#c0392b", "32": "#1e8449", "33": "#9a6a00", "1": "inherit"}
TERMINAL = """<body style="margin:0;background:#14161a;color:#e8eaee;padding:18px 22px;width:max-content">
<pre style="font:14px/1.35 'DejaVu Sans Mono',monospace;margin:0">{}</pre></body>"""


def project(folder: Path) -> None:
    """The cases of coffee and flower; what leaked is no control any more, but an edit that must pass."""
    cases = folder / "cases"
    for name in ("images", "edits"):
        shutil.copytree(ROOT / "cases" / name, cases / name)
    for name in ("coffee", "flower"):
        text = (ROOT / "cases" / f"{name}.edit.yaml").read_text("utf-8")
        before, mark, leaked = text.partition("  - id: leaked_")
        (cases / f"{name}.edit.yaml").write_text(before + mark + leaked.replace("    expect: fail\n", "", 1), "utf-8")
    (folder / "gates.yaml").write_text(GATES, "utf-8")


def run(folder: Path) -> str:
    """What pytest prints, with colours."""
    command = [sys.executable, "-m", "pytest", "cases", "--color=yes", "--editeval-report", "report.html", "--tb=short"]
    command += ["--editeval-config", "gates.yaml", "-p", "no:cacheprovider", "--rootdir", "."]
    environment = {**os.environ, "COLUMNS": "92", "CI": "true"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


def excerpt(output: str) -> str:
    """From the first failure to its end, then from the table on."""
    lines = output.splitlines()
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    heads = [index for index, line in enumerate(plain) if re.match(r"_+ \S+ _+$", line)]
    table = next(index for index, line in enumerate(plain) if "edit scores" in line)
    end = next(index for index, line in enumerate(plain) if line.startswith("release gate")) + 1
    return "\n".join([*lines[heads[0] : [*heads, table][1]], "", *lines[table:end]])


def in_html(text: str) -> str:
    """The output with its colours as markup."""
    parts = re.split(r"\x1b\[([\d;]*)m", text)
    written = [html.escape(parts[0])]
    for codes, part in zip(parts[1::2], parts[2::2], strict=True):
        styles = [code for code in codes.split(";") if code in COLORS]
        look = ";".join("font-weight:bold" if code == "1" else f"color:{COLORS[code]}" for code in styles)
        written.append(f'<span style="{look}">{html.escape(part)}</span>' if styles else html.escape(part))
    return TERMINAL.format("".join(written))


def save(shot: bytes, name: str) -> None:
    """As WebP, which is a fraction of a PNG."""
    PICTURES.mkdir(exist_ok=True)
    Image.open(io.BytesIO(shot)).convert("RGB").save(PICTURES / name, "WEBP", quality=58, method=6)


def shoot(page: Page, address: str, name: str) -> None:
    """One view of the page."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_load_state("load")
    page.wait_for_timeout(600)
    save(page.screenshot(), name)


def plots(folder: Path) -> None:
    """Scores and margins of one metric over all cases."""
    results = folder / "run.jsonl"
    command = [sys.executable, "-m", "pytest", "cases", "-q", "-p", "no:cacheprovider", "--editeval-results", results]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    from pytest_editeval.cli import main as editeval

    editeval(["plot", str(results), "--metric", "region_emd", "--output", str(folder / "plots")])
    for kind in ("scores", "margins"):
        save((folder / "plots" / f"{kind}-region_emd.png").read_bytes(), f"plot-{kind}.webp")


def main() -> None:
    """Run, and take the pictures."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        project(folder)
        output = run(folder)
        browser = playwright.chromium.launch(executable_path=browser_path)
        address = (folder / "report.html").as_uri()
        light, dark = (browser.new_page(viewport=SCREEN, color_scheme=scheme) for scheme in ("light", "dark"))
        shoot(light, address, "report.webp")
        shoot(light, address + CASE, "report-case.webp")
        shoot(dark, address + CASE, "report-case-dark.webp")
        page = browser.new_page(viewport={"width": 900, "height": 400})
        page.set_content(in_html(excerpt(output)))
        save(page.screenshot(full_page=True), "terminal.webp")
        browser.close()
        plots(folder)


if __name__ == "__main__":
    main()
