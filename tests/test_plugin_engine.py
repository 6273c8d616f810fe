"""The selected checks are planned together: every distinct image is encoded once, in batches, ahead of the run."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from PIL import Image

from conftest import picture
from project import Project

COUNTING = """
# Counts, independently of the plugin, how many images pass the networks: one line a forward pass.
def count(owner, name, images_of):
    forward = owner.forward
    def counted(self, *args, **kwargs):
        with open({path!r}, "a") as stream:
            stream.write(f"{{name}} {{len(images_of(args, kwargs))}}\\n")
        return forward(self, *args, **kwargs)
    owner.forward = counted

def pytest_configure(config):
    import segment_anything.modeling, transformers
    pixels = lambda args, kwargs: kwargs["pixel_values"]
    count(transformers.CLIPVisionModel, "CLIP", pixels)
    count(transformers.DINOv3ViTModel, "DINOv3", pixels)
    count(segment_anything.modeling.ImageEncoderViT, "SAM", lambda args, kwargs: args[0])
    count(segment_anything.modeling.PromptEncoder, "boxes", lambda args, kwargs: kwargs["boxes"])
"""
ALL_METRICS = """
metrics:
  region_emd: 1.0e+9
  emd: 1.0e+9
  dinov3_structure_similarity: 0.0
  sam_clip_cls_sim: {threshold: -1.0, pairs: [{source: [20, 20, 80, 80], edited: [20, 20, 80, 80]}]}
  sam_dino_cls_sim: {threshold: -1.0, pairs: [{source: [20, 20, 80, 80], edited: [20, 20, 80, 80]}]}
"""
SOURCES, EDITS = 2, 3


class Suite:
    """Two files, each with a source and three edits of it, all metrics."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.log = project.path / "forwards.log"
        project.pytester.makeconftest(COUNTING.format(path=str(self.log)))
        for source in range(SOURCES):
            picture(30 + source).save(project.path / f"source{source}.png")
            for edit in range(EDITS):
                picture(40 + 10 * source + edit).save(project.path / f"edited{source}{edit}.png")
            self.file(source)

    def file(self, source: int, metrics: str = ALL_METRICS) -> None:
        indented = "".join(f"  {line}\n" for line in metrics.strip().splitlines())
        cases = "".join(f"  - {{id: edit{edit}, edited: edited{source}{edit}.png}}\n" for edit in range(EDITS))
        self.project.cases(
            f"defaults:\n  source: source{source}.png\n  instruction: Do it.\n  coords: [[20, 20, 80, 80]]\n"
            f"{indented}cases:\n{cases}",
            f"s{source}.edit.yaml",
        )

    def run(self, *options: str) -> pytest.RunResult:
        self.log.unlink(missing_ok=True)
        arguments = ("-p", "no:cacheprovider", "--editeval-results", "now.jsonl", *options)
        return self.project.pytester.runpytest_subprocess(*arguments)

    def passes(self) -> dict[str, list[int]]:
        passes: dict[str, list[int]] = {}
        for line in self.log.read_text("utf-8").splitlines():
            name, count = line.split()
            passes.setdefault(name, []).append(int(count))
        return passes

    def images(self) -> dict[str, int]:
        return {name: sum(counts) for name, counts in self.passes().items()}

    def scores(self) -> dict[str, float]:
        lines = (self.project.path / "now.jsonl").read_text("utf-8").splitlines()
        return {row["node_id"]: row["score"] for row in map(json.loads, lines)}


@pytest.fixture
def suite(project: Project, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # one lane, so that batches are as large as they may be
    return Suite(project)


IMAGES = SOURCES * (1 + EDITS)
EXPECTED = {"CLIP": 2 * IMAGES, "DINOv3": 2 * IMAGES, "SAM": IMAGES, "boxes": IMAGES}
"""Whole images and objects; SAM's encoder sees whole images only, and is prompted once for each object."""


def test_every_image_is_encoded_once_and_in_batches(suite: Suite) -> None:
    result = suite.run()
    result.assert_outcomes(passed=SOURCES * EDITS * 5)
    assert suite.images() == EXPECTED
    # 8 images and 8 objects on one lane: the batches of a CPU hold 8.
    assert max(suite.passes()["CLIP"]) == max(suite.passes()["DINOv3"]) == 8
    result.stdout.fnmatch_lines(
        ["scores: 30 computed, 0 remembered · images and objects: 16 × CLIP, 16 × DINOv3, 8 × SAM encoded*"]
    )


@pytest.mark.parametrize("mode", [(), ("--dist", "loadfile")], ids=["default", "loadfile"])
def test_workers_encode_no_image_twice_and_their_work_is_summed(suite: Suite, mode: tuple[str, ...]) -> None:
    expected = suite.run()
    alone = suite.scores()
    result = suite.run("-n", "2", *mode)
    result.assert_outcomes(passed=30)
    assert suite.images() == EXPECTED
    assert suite.scores() == pytest.approx(alone, rel=1e-4)
    (line,) = (line for line in expected.outlines if line.startswith("scores:"))
    assert line in result.outlines


def test_scores_do_not_depend_on_batch_or_order(suite: Suite) -> None:
    suite.run()
    expected = suite.scores()
    for options in (
        ("--editeval-batch-size", "1"),
        ("--editeval-batch-size", "3"),
        ("s1.edit.yaml", "s0.edit.yaml"),
        ("-k", "edit1"),
        ("--editeval-memory", "1MB"),
    ):
        suite.run(*options)
        for node, score in suite.scores().items():
            assert score == pytest.approx(expected[node], rel=1e-4), (options, node)


def test_only_what_is_selected_is_encoded(suite: Suite) -> None:
    suite.run("-k", "edit1 and region_emd")
    assert suite.images() == {"CLIP": 4}
    suite.run("s0.edit.yaml", "-k", "edit1 and dino")
    assert suite.images() == {"DINOv3": 4, "SAM": 2, "boxes": 2}


def test_the_first_failure_stops_the_work_that_lies_beyond_the_window(project: Project) -> None:
    """With batches of one, a first chunk of 4 images and four of 16 are foreseen at the most, of 150."""
    suite = Suite(project)
    cases = ""
    for edit in range(150):
        picture(200 + edit, 32, 32).save(project.path / f"small{edit}.png")
        cases += f"  - {{id: small{edit}, edited: small{edit}.png}}\n"
    project.cases(
        "defaults: {source: small0.png, instruction: Do it., metrics: {emd: {threshold: -1.0, scope: null}}}\n"
        f"cases:\n{cases}",
        "many.edit.yaml",
    )
    result = suite.run("-x", "many.edit.yaml", "--editeval-batch-size", "1")
    result.assert_outcomes(failed=1)
    assert suite.images()["CLIP"] <= 4 + 4 * 16
    result.stdout.fnmatch_lines(["not run: 149 of 150 checks: *"])


def test_images_are_known_by_content_not_by_name(suite: Suite) -> None:
    """The same picture as PNG, BMP and under another name."""
    picture(1).save(suite.project.path / "again.bmp")
    picture(1).save(suite.project.path / "copy.png")
    suite.project.cases(
        "defaults: {instruction: Do it., coords: [[20, 20, 80, 80]], metrics: {region_emd: 0.0}}\n"
        "cases:\n"
        "  - {id: one, source: source.png, edited: again.bmp}\n"
        "  - {id: two, source: copy.png, edited: source.png}\n",
        "same.edit.yaml",
    )
    suite.run("same.edit.yaml").assert_outcomes(passed=2)
    assert suite.images() == {"CLIP": 1}


def test_sam_is_prompted_once_for_all_boxes_of_an_image(suite: Suite) -> None:
    """Two candidates and two metrics look at three objects of one source; the window ends between them."""
    pairs = "pairs: [{source: [%d, 10, 60, 60], edited: [10, 10, 60, 60]}]"
    for source, box in ((0, 10), (1, 30)):
        suite.file(source, "metrics:\n  sam_clip_cls_sim: {threshold: -1.0, %s}" % (pairs % box))
    text = (suite.project.path / "s1.edit.yaml").read_text("utf-8").replace("source1.png", "source0.png")
    suite.project.cases(text, "s1.edit.yaml")
    suite.run("--editeval-batch-size", "1").assert_outcomes(passed=6)
    passes = suite.passes()
    assert passes["SAM"] == [1] * 7
    assert Counter(passes["boxes"]) == {2: 1, 1: 6}  # both boxes of the source at once


def test_a_warm_run_imports_no_model_library(project: Project) -> None:
    project.cases()
    project.pytester.makeconftest(
        "import sys\n"
        "def pytest_terminal_summary(terminalreporter):\n"
        "    heavy = {'torch', 'torchvision', 'transformers', 'segment_anything', 'ot', 'scipy', 'cv2'}\n"
        "    heavy &= {*sys.modules}\n"
        "    terminalreporter.write_line(f'IMPORTED {sorted(heavy)}')\n"
    )
    arguments = ("-p", "no:hypothesispytest", "--editeval-results", "now.jsonl")
    cold = project.pytester.runpytest_subprocess(*arguments)
    before = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    warm = project.pytester.runpytest_subprocess(*arguments)
    warm.stdout.fnmatch_lines(["IMPORTED [[][]]"])
    assert warm.parseoutcomes().keys() == cold.parseoutcomes().keys()
    after = (project.path / "now.jsonl").read_text("utf-8").splitlines()
    for left, right in zip(before, after, strict=True):
        changing = {"duration": 0, "remembered": None}
        assert json.loads(left) | changing == json.loads(right) | changing


def test_a_warm_worker_imports_no_torch_either_and_a_cold_one_takes_its_share(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    project.one("region_emd: 1.0e+9")
    project.pytester.makeconftest(
        "import os, sys\n"
        "os.cpu_count = lambda: 6\n"
        "def pytest_sessionfinish(session):\n"
        "    if hasattr(session.config, 'workerinput') and session.testscollected:\n"
        "        torch = sys.modules.get('torch')\n"
        "        threads = torch.get_num_threads() if torch else 'no torch'\n"
        "        open(f'threads-{os.environ[\"PYTEST_XDIST_WORKER\"]}', 'a').write(f'{threads}\\n')\n"
    )
    for _ in range(2):
        result = project.pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-n", "2")
        result.assert_outcomes(passed=1)
    said = sorted(path.read_text("utf-8").split("\n") for path in project.path.glob("threads-*"))
    assert said == [["3", "no torch", ""], ["no torch", "no torch", ""]]


def test_a_changed_threshold_is_judged_without_a_model(project: Project) -> None:
    project.one("region_emd: 1.0e+9")
    project.pytester.runpytest().assert_outcomes(passed=1)
    project.one("region_emd: 0.0")
    result = project.pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["scores: 0 computed, 1 remembered"])


def test_two_runs_at_once_share_a_store(suite: Suite) -> None:
    import subprocess
    import sys

    def start(name: str) -> subprocess.Popen[bytes]:
        options = ("--editeval-cache-dir", "store", "--editeval-results", name, "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", "-q", *options]
        return subprocess.Popen(command, cwd=suite.project.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    both = [start("a.jsonl"), start("b.jsonl")]
    assert [process.wait() for process in both] == [0, 0]

    def scores(name: str) -> dict[str, float]:
        lines = (suite.project.path / name).read_text("utf-8").splitlines()
        return {row["node_id"]: row["score"] for row in map(json.loads, lines)}

    assert scores("a.jsonl") == pytest.approx(scores("b.jsonl"), rel=1e-4)
    result = suite.run("--editeval-cache-dir", "store")
    result.stdout.fnmatch_lines(["scores: 0 computed, 30 remembered"])
    assert not suite.log.exists() or suite.images() == {}


def test_metrics_of_one_checkpoint_share_one_model(project: Project) -> None:
    """Whatever their pipe blocks say: another path to it, another fit."""
    (project.path / "link").symlink_to(project.models / "clip")
    project.write(
        "tiny.yaml",
        f"""
        metric_configs:
          emd:
            default_config: {{model_path: {project.models}/clip}}
          region_emd:
            default_config: {{model_path: ./link, fit: squash}}
        """,
    )
    project.pytester.makeconftest(
        "import pytest_editeval.vision.loading as loading\n"
        "LOADED = []\n"
        "load = loading.load_transformers\n"
        "def counted(model_class, path, **options):\n"
        "    LOADED.append(path)\n"
        "    return load(model_class, path, **options)\n"
        "import pytest_editeval.vision.networks as networks\n"
        "networks.load_transformers = counted\n"
        "def pytest_terminal_summary(terminalreporter):\n"
        "    terminalreporter.write_line(f'LOADED {len(LOADED)}')\n"
    )
    project.one("emd: 1.0e+9, region_emd: 1.0e+9")
    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
    # Squares are squashed and cropped alike, but the two geometries are not the same features.
    result.stdout.fnmatch_lines(["*4 × CLIP encoded*", "LOADED 1"])


def test_another_directorys_models_are_not_foreseen(project: Project) -> None:
    """Each directory's conftest.py puts its own pipe in the fixture's place; every check is scored by its own."""
    conftest = (
        "import pytest\nfrom pytest_editeval import CLIPPipe\n"
        "@pytest.fixture(scope='session')\ndef clip_pipe():\n"
        f"    return CLIPPipe(model_path={str(project.models / 'clip')!r}, device='cpu', fit=%r)\n"
    )
    for name, fit in (("a", "crop"), ("b", "squash")):
        folder = project.path / name
        folder.mkdir()
        (folder / "conftest.py").write_text(conftest % fit, "utf-8")
        for index in (1, 2):
            picture(index, 160, 96).save(folder / f"{index}.png")
        project.cases(
            "cases: [{id: one, instruction: Do it., source: 1.png, edited: 2.png, coords: [[20, 20, 80, 80]], "
            "metrics: {emd: 1.0e+9}}]\n",
            f"{name}/x.edit.yaml",
        )
    together = project.run("--editeval-results", "both.jsonl")
    together.assert_outcomes(passed=2)
    rows = [json.loads(line) for line in (project.path / "both.jsonl").read_text("utf-8").splitlines()]
    assert rows[0]["score"] != rows[1]["score"]
    for name, row in zip("ab", rows, strict=True):
        project.run(name, "--editeval-results", "one.jsonl").assert_outcomes(passed=1)
        alone = json.loads((project.path / "one.jsonl").read_text("utf-8"))
        assert alone["score"] == pytest.approx(row["score"], rel=1e-4)


def test_a_skipped_check_is_passed_over(project: Project) -> None:
    project.cases()
    project.pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    items[1].add_marker(pytest.mark.skip)\n"
        "    items[3].add_marker(pytest.mark.skip)\n"
    )
    result = project.run("-k", "same or other or caught")
    result.assert_outcomes(passed=4, skipped=2)


def test_a_file_that_changes_while_it_is_used_is_an_error(project: Project) -> None:
    """Found when the pixels are needed of a file that was only recognised by its digest before."""
    from pytest_editeval.errors import ImageError
    from pytest_editeval.needs import ImageRef
    from pytest_editeval.vision.images import ImageFiles

    class Records:
        def load_image(self, key: str) -> ImageRef:
            return ImageRef("0" * 32, (96, 96))

        def save_image(self, key: str, ref: ImageRef) -> None:
            raise AssertionError

    path = project.path / "source.png"
    image = ImageFiles(Records()).load(path)
    picture(9).save(path)
    with pytest.raises(ImageError, match="was changed while the run was using it"):
        _ = image.pixels


def test_a_rewritten_image_is_seen_whatever_its_time_says(project: Project) -> None:
    """Same size, same time of change: only the content differs."""
    import os

    project.one("region_emd: 1.0e+9")
    path = project.path / "other.png"
    for seed in (2, 3):
        Image.new("RGB", (96, 96), (seed, seed, seed)).save(path.with_suffix(".bmp"))
        path.write_bytes(path.with_suffix(".bmp").read_bytes())
        os.utime(path, (1, 1))
        project.pytester.runpytest("--editeval-results", f"{seed}.jsonl").assert_outcomes(passed=1)
    scores = [json.loads((project.path / f"{seed}.jsonl").read_text("utf-8"))["score"] for seed in (2, 3)]
    assert scores[0] != scores[1]
