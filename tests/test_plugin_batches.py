"""The images of a file's checks are encoded together, and nobody's failure becomes another's."""

from __future__ import annotations

import json

import pytest

from conftest import picture
from project import Project

COUNTING = """
import numpy as np
import pytest
from pytest_editeval import CLIPPipe
from pytest_editeval.errors import MetricError

CALLS = []

class Counting(CLIPPipe):
    def encode(self, images):
        CALLS.append(len(images))
        if any(np.asarray(image).min() == 255 for image in images):
            raise MetricError("a white image")
        return super().encode(images)

@pytest.fixture(scope="session")
def clip_pipe():
    return Counting(model_path={models!r} + "/clip", device="cpu")

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"CALLS {{CALLS}}")
"""
CASES = """
defaults: {source: source.png, instruction: Do it., coords: [[20, 20, 80, 80]], metrics: {region_emd: 1.0e+9}}
cases:
  - {id: a, edited: a.png}
  - {id: b, edited: b.png}
  - {id: c, edited: c.png}
  - {id: again, edited: a.png}
"""


@pytest.fixture
def suite(project: Project) -> Project:
    for index, name in enumerate("abc"):
        picture(20 + index).save(project.path / f"{name}.png")
    project.pytester.makeconftest(COUNTING.format(models=str(project.models)))
    project.cases(CASES)
    return project


def test_the_images_of_a_file_are_one_batch(suite: Project) -> None:
    result = suite.run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["* images and objects: 4 × CLIP encoded, 0 remembered", "CALLS [[]4]"])


def test_only_selected_checks_are_encoded(suite: Project) -> None:
    result = suite.run("-k", "b or c")
    result.stdout.fnmatch_lines(["CALLS [[]3]"])


def test_the_batch_does_not_change_the_scores(suite: Project) -> None:
    scores = {}
    for options in ((), ("-k", "b"), ("-k", "c")):
        suite.run("--editeval-results", "now.jsonl", *options)
        for line in (suite.path / "now.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            assert row["score"] == pytest.approx(scores.setdefault(row["case"], row["score"]), rel=1e-4)
    assert set(scores) == {"a", "b", "c", "again"}


def test_a_broken_image_fails_its_own_check_only(suite: Project) -> None:
    suite.write("b.png", "no picture")
    result = suite.run()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["a.edit.yaml:5:*: edited not an image file: b.png*", "CALLS [[]3]"])


def test_an_image_that_a_model_cannot_take_fails_its_own_check_only(suite: Project) -> None:
    from PIL import Image

    Image.new("RGB", (96, 96), "white").save(suite.path / "b.png")
    result = suite.run()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*a.edit.yaml::b::region_emd*", "a white image", "scores: 3 computed*", "CALLS [[]4, 1, 1, 1, 1]"]
    )


def test_a_fixture_that_fails_is_left_to_the_check_that_uses_it(suite: Project) -> None:
    config = (suite.path / "tiny.yaml").read_text("utf-8")
    suite.write("tiny.yaml", config.replace("/dinov3}", "/gone}"))
    suite.cases(CASES.replace("region_emd: 1.0e+9", "region_emd: 1.0e+9, dinov3_structure_similarity: 0.0"))
    result = suite.run()
    result.assert_outcomes(passed=4, errors=4)
    result.stdout.fnmatch_lines(["no checkpoint at */gone*"])
