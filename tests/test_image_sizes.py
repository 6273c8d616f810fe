"""Images of every size: the limit of pixels in every place that opens them, and extreme shapes through every metric."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import picture
from project import Project
from pytest_editeval.cli import main
from pytest_editeval.errors import EditEvalError, ImageError
from pytest_editeval.pixel_limit import limit_pixels, max_pixels, parse_pixels
from pytest_editeval.vision.images import ImageFiles, load_image, rgb_pixels

PLAIN_AND_XDIST = pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
LINE = "96×96 is 9,216 pixels, more than the 9,000 that --editeval-max-pixels allows"


@pytest.mark.parametrize(("text", "pixels"), [("100MP", 100_000_000), ("0.5 mp", 500_000), ("7", 7), (" 12 ", 12)])
def test_a_number_of_pixels(text: str, pixels: int) -> None:
    assert parse_pixels("x", text) == pixels


@pytest.mark.parametrize("text", ["", "0", "-1", "0MP", "1e6", "MP", "1GB", "1,000", "inf", "٣"])
def test_what_is_no_number_of_pixels(text: str) -> None:
    with pytest.raises(EditEvalError, match="x is a number of pixels such as 100MP or 50000000, not "):
        parse_pixels("x", text)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 900))
def test_the_limit_is_exact(width: int, height: int, limit: int) -> None:
    restore = limit_pixels(limit)
    try:
        if width * height <= limit:
            assert load_image(Image.new("RGB", (width, height))).ref.size == (width, height)
        else:
            with pytest.raises(
                ImageError, match=f"{width}×{height} is {width * height:,} pixels, more than the {limit:,}"
            ):
                load_image(Image.new("RGB", (width, height)))
    finally:
        restore()
    assert max_pixels() == 178_956_970


def test_a_higher_limit_than_pillows_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # refuses from 20 on
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    assert load_image(path).ref.size == (8, 8)
    assert rgb_pixels(path).size == (8, 8)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_what_is_remembered_obeys_the_limit_of_this_run(tmp_path: Path) -> None:
    class Records:
        known: dict[str, object] = {}  # noqa: RUF012

        def load_image(self, key: str) -> object:
            return self.known.get(key)

        def save_image(self, key: str, ref: object) -> None:
            self.known[key] = ref

    path = tmp_path / "a.png"
    picture(1).save(path)
    ImageFiles(Records()).load(path)  # type: ignore[arg-type]
    restore = limit_pixels(9_000)
    try:
        with pytest.raises(ImageError, match=LINE):
            ImageFiles(Records()).load(path)  # type: ignore[arg-type]
    finally:
        restore()


def test_a_file_of_more_bytes_than_any_image_needs_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte
    with pytest.raises(ImageError, match="it has more than 1448432976 bytes"):
        load_image(path)


@PLAIN_AND_XDIST
def test_the_limit_reaches_every_place_of_a_run(
    project: Project, options: tuple[str, ...], remembered_scores: Path
) -> None:
    project.store = remembered_scores
    project.write(
        "conftest.py",
        """
        from PIL import Image
        def pytest_editeval_edit(case, source, seed, candidate):
            return Image.new("RGB", (96, 96) if case.id == "large" else (9, 9))
        """,
    )
    for name in ("small", "source"):
        picture(1, 48, 48).save(project.path / f"{name}.png")
    (project.path / "edits").mkdir()
    picture(2).save(project.path / "edits" / "large.png")
    project.cases(
        """
        defaults: {instruction: Do it., source: small.png, metrics: {emd: {threshold: 1.0e+9, scope: null}}}
        cases: [{id: large}, {id: own, edited: other.png}]
        """
    )
    project.write(
        "test_own.py",
        """
        from PIL import Image
        def test_score(editeval):
            editeval.score("emd", "small.png", "other.png", scope=None)
        def test_opened(editeval):
            with Image.open("other.png") as opened:
                editeval.score("emd", "small.png", opened, scope=None)
        def test_pipe(clip_pipe):
            clip_pipe("small.png", "other.png")
        def test_features(clip_pipe):
            clip_pipe.get_features("other.png")
        def test_segmenter(sam_segmenter):
            sam_segmenter.embed("other.png")
        """,
    )
    limit = ("--editeval-max-pixels", "9000", *options)
    result = project.run("test_own.py", *limit)
    result.assert_outcomes(failed=5)
    assert result.stdout.str().count(LINE) >= 5
    if options:
        return
    result = project.run("a.edit.yaml", "--editeval-candidate", "v1=edits", "--editeval-candidate", "v2", *limit)
    assert LINE in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    result = project.run("a.edit.yaml", *limit, "-k", "own")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"a.edit.yaml:3:*: edited other.png: {LINE}"])
    assert max_pixels() == 178_956_970


def test_the_ini_setting_and_a_mistake_in_it(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    result = project.run("-o", "editeval_max_pixels=0.009MP")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{LINE}"])
    result = project.run("-o", "editeval_max_pixels=many")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: editeval: --editeval-max-pixels is a number of pixels such as 100MP *'many'"])


def test_the_commands_have_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.one("region_emd: 1.0e+9")
    project.run("--editeval-results", "run.jsonl")
    monkeypatch.chdir(project.path)
    restore = limit_pixels(max_pixels())
    try:
        assert main(["report", "run.jsonl", "--no-gates", "--max-pixels", "9000"]) == 0
        assert LINE.partition(" is ")[2] in (project.path / "report.html").read_text("utf-8")
        main(["lint", "a.edit.yaml", "--config", "tiny.yaml", "--max-pixels", "9000"])
        assert LINE in capsys.readouterr().out
        main(["noise", "a.edit.yaml", "--config", "tiny.yaml", "--max-pixels", "9000"])
        assert LINE in "".join(capsys.readouterr())
    finally:
        restore()


SHAPES = {"point": (1, 1), "column": (1, 20_000), "row": (20_000, 1)}


def test_extreme_shapes_through_every_metric(project: Project) -> None:
    """A score, a soft failure or one line; the models' memory is bounded."""
    cases = []
    for name, (width, height) in SHAPES.items():
        picture(1, width, height).save(project.path / f"{name}-1.png")
        picture(2, width, height).save(project.path / f"{name}-2.png")
        box = f"[0, 0, {width}, {height}]"
        cases.append(
            f"- {{id: {name}, instruction: Do it., source: {name}-1.png, edited: {name}-2.png, coords: [{box}], "
            "metrics: "
            f"{{emd: {{threshold: 0, scope: null}}, region_emd: {{threshold: 0, scope: edit_area}}, "
            f"dinov3_structure_similarity: 1, "
            f"sam_clip_cls_sim: {{threshold: 1, pairs: [{{source: {box}, edited: {box}}}]}}, "
            f"sam_dino_cls_sim: {{threshold: 1, pairs: [{{source: {box}, edited: {box}}}]}}}}}}"
        )
    project.cases("cases:\n" + "\n".join(cases) + "\n")
    result = project.run("-rA")
    output = result.stdout.str()
    outcomes = result.parseoutcomes()
    assert "ValueError" not in output
    assert output.count("image is too narrow for SAM, which resizes the longer side to") >= 4
    assert sum(outcomes.get(name, 0) for name in ("passed", "failed", "xfailed")) == 15, output
    assert "Traceback" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes there")
def test_memory_for_an_image_is_bounded(tmp_path: Path) -> None:
    """20 megapixels with transparency; docs/images.md has the figure for 100."""
    Image.new("RGBA", (5000, 4000), (10, 20, 30, 99)).save(tmp_path / "a.png", compress_level=1)
    script = """
        import resource, sys
        from pathlib import Path
        from pytest_editeval.vision.images import load_image
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        load_image(Path(sys.argv[1])).pixels
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 20_000_000)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 13  # bytes per pixel
