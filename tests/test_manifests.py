"""With which models a row was measured, and what `editeval compare` says that two runs differ in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from project import Project
from pytest_editeval.cli import main
from pytest_editeval.digests import digest_of, versions
from pytest_editeval.gating.manifests import manifest_differences
from pytest_editeval.vision.checkpoints import file_digests
from results import result

NAMES = ("A", "B")


def rows(path: Path) -> dict[str, dict[str, object]]:
    return {row["node_id"]: row for row in map(json.loads, path.read_text("utf-8").splitlines())}


def test_rows_say_which_models_they_are_of(project: Project, models: Path) -> None:
    project.cases()
    project.run("--editeval-results", "a.jsonl")
    found = rows(project.path / "a.jsonl")
    own = found["a.edit.yaml::same::region_emd"]["models"]
    assert own == {
        "backbone": {
            "path": str(models / "clip"),
            "family": "clip_vision_model",
            "revision": None,
            "digest": digest_of(file_digests(str(models / "clip")))[:16],
            "dtype": "float32",
            "quantize": None,
            "compile": False,
            "input_size": 224,
            "patch_size": 32,
            "shortest_edge": 224,
            "resample": "bicubic",
            "registers": 0,
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
            "tile_size": None,
        }
    }
    objects = found["a.edit.yaml::same::sam_dino_cls_sim"]["models"]
    assert isinstance(objects, dict)
    assert objects["backbone"]["family"] == "dinov3_vit"
    assert objects["backbone"]["registers"] == 4
    assert objects["backbone"]["shortest_edge"] is None
    assert objects["backbone"]["resample"] == "bilinear"
    assert objects["segmenter"]["family"] == "segment-anything"
    assert objects["segmenter"]["digest"] == digest_of(file_digests(str(models / "sam.pth")))[:16]


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_compare_says_what_differs(
    project: Project, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.cases()
    project.run("--editeval-results", "a.jsonl", *options)
    config = project.path / "tiny.yaml"
    text = config.read_text("utf-8")
    changed = text.replace("/clip}", "/clip, dtype: bfloat16}", 1)
    changed = changed.replace("/dinov3}", "/dinov3, input_size: 112, tile: {size: 56}}", 1)
    config.write_text(changed, "utf-8")
    project.run("--editeval-results", "b.jsonl", *options)
    monkeypatch.chdir(project.path)
    capsys.readouterr()
    assert main(["compare", "a.jsonl", "b.jsonl"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "editeval: a.jsonl and b.jsonl were not measured alike (--allow-mismatch)"
    assert "  backbone input_size: a.jsonl has 224, b.jsonl 112 (dinov3_structure_similarity)" in lines
    assert "  backbone tile_size: a.jsonl has none, b.jsonl 56 (dinov3_structure_similarity)" in lines
    assert "  backbone dtype: a.jsonl has float32, b.jsonl bfloat16 (emd, region_emd)" in lines
    assert main(["compare", "a.jsonl", "b.jsonl", "--allow-mismatch"]) == 0
    assert "differs: backbone dtype: a.jsonl has float32, b.jsonl bfloat16 (emd, region_emd)" in capsys.readouterr().out
    assert main(["compare", "a.jsonl", "a.jsonl"]) == 0
    assert "differs" not in capsys.readouterr().out


def test_libraries_and_devices_are_told_and_do_not_stop_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pytest_editeval.results_file import write_results

    one = result(versions={"torch": "2.10", "numpy": "2.0"}, device="cpu")
    other = result(versions={"torch": "2.15", "numpy": "2.0"}, device="cuda:0")
    for name, row in (("a", one), ("b", other)):
        write_results(tmp_path / f"{name}.jsonl", [row])
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ", 2)[1] for line in printed if line.startswith("differs: ")] == ["torch", "device"]
    assert printed[1].endswith("b.jsonl cuda:0")


def backbone(**facts: object) -> dict[str, object]:
    return {"backbone": {"path": "models/clip", "digest": "d1", "revision": None, "shortest_edge": 224} | facts}


def test_a_difference_by_fact() -> None:
    one = [result(models=backbone()), result(metric="region_emd", models=backbone())]
    other = [result(models=backbone(shortest_edge=None)), result(metric="region_emd", models=backbone(revision="abc"))]
    assert manifest_differences(one, other, NAMES) == [
        "backbone shortest_edge: A has 224, B none (emd)",
        "backbone revision: A has none, B abc (region_emd)",
    ]
    assert manifest_differences(one, one, NAMES) == []
    assert manifest_differences(one, [], NAMES) == []


def test_the_place_of_equal_files_is_no_difference() -> None:
    one = [result(models=backbone())]
    assert manifest_differences(one, [result(models=backbone(path="/elsewhere/clip"))], NAMES) == []
    found = manifest_differences(one, [result(models=backbone(path="/elsewhere/clip", digest="d2"))], NAMES)
    assert found == ["backbone path: A has models/clip, B /elsewhere/clip", "backbone digest: A has d1, B d2"]


def test_rows_of_one_run_on_two_devices_name_both() -> None:
    one = [result(case=case, device=device) for case, device in (("x", "cuda:1"), ("y", "cuda:0"))]
    assert manifest_differences(one, [result()], NAMES) == ["device: A has cuda:0, cuda:1, B cpu"]


def test_libraries_that_the_numbers_come_from_are_in_every_row(project: Project) -> None:
    project.one("emd: 1.0e+9")
    project.run("--editeval-results", "a.jsonl")
    (row,) = rows(project.path / "a.jsonl").values()
    assert isinstance(row["versions"], dict)
    assert row["versions"].items() >= versions().items()
