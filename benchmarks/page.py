"""The page of a large run: its size, the time to write it, and how it opens and filters in Chromium.

    python benchmarks/page.py --checks 2000

The images are variations of the repository's photographs, no two of them equal: random parts, flipped, brighter or
darker, 768 pixels wide. `--cases` says over how many cases the checks are spread (default: as many as checks, the worst
case, in which every check has two images of its own).
"""

from __future__ import annotations

import argparse
import base64
import io
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from pytest_editeval.evidence import patch_data
from pytest_editeval.regions import Geometry
from pytest_editeval.reports.html.page import PageSettings, write_page
from pytest_editeval.reports.verdict import RunNotes
from pytest_editeval.results import CheckResult, Outcome
from pytest_editeval.vision.images import load_image

ROOT = Path(__file__).parents[1]
METRICS = {"region_emd": False, "emd": False, "dinov3_structure_similarity": True}
METRICS |= {"sam_clip_cls_sim": True, "sam_dino_cls_sim": True}
SIZE = (768, 576)
IN_PAGE = """async (task) => {
  const longest = [];
  const seen = new PerformanceObserver((list) => longest.push(...list.getEntries().map((one) => one.duration)));
  seen.observe({ entryTypes: ["longtask"] });
  const begun = performance.now();
  new Function(task)();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const taken = performance.now() - begun;
  await new Promise((done) => setTimeout(done, 300));
  seen.disconnect();
  return [taken, Math.max(0, ...longest)];
}"""


def variations(folder: Path, number: int, chance: random.Random) -> list[Path]:
    """That many different photographs."""
    photographs = [Image.open(path).convert("RGB") for path in sorted((ROOT / "cases" / "images").iterdir())]
    paths = []
    for index in range(number):
        photo = photographs[index % len(photographs)]
        share = chance.uniform(0.6, 0.95)
        width, height = (int(side * share) for side in photo.size)
        left, top = chance.randint(0, photo.width - width), chance.randint(0, photo.height - height)
        part = photo.crop((left, top, left + width, top + height)).resize(SIZE, Image.Resampling.BICUBIC)
        part = ImageEnhance.Brightness(part).enhance(chance.uniform(0.7, 1.3))
        paths.append(folder / f"{index}.jpg")
        part.save(paths[-1], quality=88)
    return paths


def rows(images: list[Path], checks: int, cases: int, chance: random.Random) -> list[CheckResult]:
    """Results over these images."""
    digests = {path: load_image(path).ref.digest for path in images}
    dice = np.random.default_rng(1)
    found = []
    for index in range(checks):
        case, metric = index % cases, list(METRICS)[index // cases % len(METRICS)]
        source, edited = images[2 * case], images[2 * case + 1]
        score = chance.gauss(4, 1)
        margin = (score - 3) if METRICS[metric] else (5.5 - score)
        compared = dice.random(196) > 0.3
        shares = dice.dirichlet(np.full(compared.sum(), 0.2))
        details = {"patches": patch_data(Geometry(224, 16), SIZE, compared, shares)}
        result = CheckResult(
            **BASE,
            node_id=f"cases/{case % 40}.edit.yaml::case_{case}::{metric}",
            file=f"cases/{case % 40}.edit.yaml",
            line=case,
            case=f"case_{case}",
            metric=metric,
            task=f"task_{case % 9}",
            tags=(f"tag_{case % 5}",),
            source=str(source),
            edited=str(edited),
            source_digest=digests[source],
            edited_digest=digests[edited],
            threshold=3.0 if METRICS[metric] else 5.5,
            higher_is_better=METRICS[metric],
            score=score,
            margin=margin,
            outcome=Outcome.PASSED if margin >= 0 else Outcome.FAILED,
        )
        found.append(replace(result, details=details))
    return found


BASE: dict[str, Any] = dict.fromkeys(
    ("candidate", "control", "reason", "detail", "quota", "covered_by", "baseline", "tolerance", "noise")
) | {
    "metric_version": 1,
    "models": {},
    "instruction": "Make the scarf red, and nothing else.",
    "source_size": SIZE,
    "edited_size": SIZE,
    "scope": "unedit_area",
    "coords": ((100.0, 90.0, 300.0, 280.0),),
    "parameters": {},
    "expect": "pass",
    "repeats": (),
    "within_noise": False,
    "profile": "embedded",
    "fingerprint": "5f",
    "device": "cpu",
    "versions": {},
    "duration": 0.1,
    "remembered": False,
}


def browse(path: Path) -> None:
    """Open the page, filter, and open a case; prints milliseconds to the next frame, and of the longest task."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        begun = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector(".tile img[src]")
        first = time.perf_counter() - begun
        page.wait_for_load_state("load")
        print(f"first tile with its image {first:.2f} s, whole page loaded {time.perf_counter() - begun:.2f} s")
        search = "const q = document.getElementById('filter-q'); q.value = '{}'; q.dispatchEvent(new Event('input'));"
        steps = {
            "filter by verdict": "document.querySelector('[data-verdict=failed]').click();",
            "search": search.format("case_17"),
            "clear the search": search.format(""),
            "show all": "document.getElementById('more').click();",
            "filter all of them": "document.querySelector('[data-verdict=failed]').click();",
            "open a case": "document.querySelector('.tile').click();",
            "next case": "document.getElementById('next').click();",
        }
        for name, task in steps.items():
            taken, longest = page.evaluate(IN_PAGE, task)
            print(f"{name:<20} {taken:6.0f} ms to the next frame, longest task {longest:5.0f} ms")
        browser.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checks", type=int, default=2000)
    parser.add_argument("--cases", type=int)
    arguments = parser.parse_args()
    cases = arguments.cases or arguments.checks
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = variations(folder, 2 * cases, chance)
        found = rows(images, arguments.checks, cases, chance)
        path = folder / "report.html"
        begun = time.perf_counter()
        written = write_page(path, found, [], RunNotes(), PageSettings())
        taken = time.perf_counter() - begun
        body = path.read_text("utf-8").split('id="image-0">', 1)[1].split("<", 1)[0]
        first = Image.open(io.BytesIO(base64.b64decode(body)))
        print(
            f"{arguments.checks} checks of {cases} cases, {len(images)} images: "
            f"{written.size / 1e6:.1f} MB in {taken:.1f} s"
        )
        print(f"thumbnails of {max(first.size)} pixels")
        browse(path)


if __name__ == "__main__":
    main()
