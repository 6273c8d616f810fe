"""The page in headless Chromium: what a person sees of it, and does with it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pages
from browser import Tab, chromium
from pages import check, gate, patches, save, soft
from pytest_editeval.evidence import mask_data, object_data
from pytest_editeval.reports.html.anchors import anchor
from pytest_editeval.reports.html.page import PageSettings, write_page
from pytest_editeval.reports.verdict import RunNotes
from pytest_editeval.results import CheckResult, GateSlice, Outcome, Repeat

SIDE = 4
LEAK = 3  # the patch at the upper right corner of a grid of 4 by 4
RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (30, 60, 200)
LEAKED = "#case=cases/a/leaked&check=region_emd"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; what they had to complain of fails the test."""
    tabs: list[Tab] = []

    def opened(**settings: Any) -> Tab:
        tabs.append(Tab(browser, **settings))
        return tabs[-1]

    yield opened
    for one in tabs:
        one.close()
    assert [problem for one in tabs for problem in one.problems] == []


def leak(area: tuple[float, float, float, float] = (40, 0, 280, 240)) -> dict[str, Any]:
    """Details of a leak in the corner: 60 % there, 40 % over the others, nothing in the middle, which is the edit."""
    compared = "1111100110011111"
    rest = 0.4 / 11
    shares = [0.0 if one == "0" else 0.6 if index == LEAK else rest for index, one in enumerate(compared)]
    step = (area[2] - area[0]) / SIDE
    spot = [round(area[2] - step), 0, round(area[2]), round(step)]
    worst = {"rows": [0, 0], "columns": [LEAK, LEAK], "share": 0.6, "area": spot}
    return {**patches(compared, shares, SIDE, area), "worst": worst, "patches_compared": 12, "patches_total": 16}


def object_details() -> dict[str, Any]:
    mask = np.zeros((40, 40), np.bool_)
    mask[:, :20] = True  # the left half of the box is the object
    left = object_data((20, 20, 60, 60), mask_data(mask))
    right = object_data((40, 30, 80, 70), mask_data(mask))
    return {"pairs": [0.7], "objects": [{"source": left, "edited": right}]}


def rows(folder: Path) -> list[CheckResult]:
    source = save(folder / "source.png", RED, (320, 240))
    edited = save(folder / "edited.png", GREEN, (320, 240))
    other = save(folder / "other.png", BLUE, (320, 240))
    sizes: dict[str, Any] = {"source_size": (320, 240), "edited_size": (320, 240)}
    leaked: dict[str, Any] = {
        "case": "leaked",
        "line": 20,
        "coords": ((120, 60, 200, 180),),
        **sizes,
        "details": leak(),
    }
    fine: dict[str, Any] = {"case": "fine", "task": "style_alter", "tags": ("animals",), **sizes}
    objects: dict[str, Any] = {"case": "objects", "task": "subject_add", "tags": (), **sizes, "scope": None}
    found = [
        check(source, edited, **leaked, score=9.0, threshold=5.0, noise=0.4, baseline=8.5, tolerance=1.0),
        check(source, edited, **leaked, metric="emd", score=1.0, threshold=5.0),
        check(source, edited, **fine, score=1.0, expect="pass", instruction="Paint it like Monet."),
        check(
            source,
            edited,
            **objects,
            metric="sam_clip_cls_sim",
            score=0.7,
            threshold=0.6,
            noise=0.02,
            baseline=0.75,
            coords=((20, 20, 60, 60), (40, 30, 80, 70)),
            parameters={"bg_color": [0, 0, 255]},
            details=object_details(),
        ),
        soft(source=str(source), edited=str(edited), case="soft", task=None, **sizes),
        check(source, folder / "gone.png", case="gone", outcome=Outcome.ERROR, score=None, detail="no image", **sizes),
    ]
    found += [
        check(
            control=name,
            candidate=name,
            case=case,
            metric=metric,
            score=score,
            node_id=f"cases/a.edit.yaml::{case}[{name}]::{metric}",
        )
        for case, metric, name, score in (
            ("leaked", "region_emd", "nothing-done", 0.2),
            ("leaked", "region_emd", "destroyed", 30.0),
            ("objects", "sam_clip_cls_sim", "nothing-done", 0.9),
            ("objects", "sam_clip_cls_sim", "destroyed", 0.1),
        )
    ]
    for name, score, image in (("v1", 2.0, edited), ("v2", 7.0, other)):
        found.append(check(source, image, case="twice", candidate=name, score=score, baseline=3.0, **sizes))
    repeats = tuple(
        Repeat(seed, str(image), score, 5.0 - score, Outcome.PASSED if score <= 5 else Outcome.FAILED)
        for seed, image, score in ((1, edited, 3.0), (2, other, 8.0), (3, source, 1.0))
    )
    found.append(check(source, edited, case="seeds", score=3.0, quota=2, repeats=repeats, **sizes))
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that most tests look at: nine cases, of every verdict."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    part = GateSlice("task=color_alter", 5.0, 8, False, soft=1, bound=6.0)
    good = GateSlice("", 2.0, 8, True, interval=(1.5, 2.5), p_value=0.01)
    gates = [gate(part), gate(good, rule="median of emd ≤ 4")]
    write_page(path, rows(folder), gates, RunNotes(), PageSettings())
    return path


def names(page: Any) -> list[str]:
    """What the tiles are of, in their order."""
    return list(page.locator(".tile .name bdi").all_text_contents())


def count(page: Any) -> str:
    return str(page.inner_text("#count"))


def is_open(page: Any) -> bool:
    return bool(page.evaluate("document.getElementById('case').open"))


def until(page: Any, expression: str) -> None:
    """Wait for it. `wait_for_function` needs `eval`, which the page's policy forbids."""
    for _ in range(250):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"waited in vain for {expression}")


def closed(page: Any) -> None:
    """Wait until the case is closed and what closing it does is done."""
    until(page, "!document.getElementById('case').childElementCount")


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id"))


def test_the_overview_shows_the_verdict_and_the_cases_worst_first(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    assert page.inner_text("h1").strip() == "Failed"
    assert count(page) == "8 of 8 · 9 checks"
    assert names(page) == ["gone", "leaked", "twice[v2]", "soft", *names(page)[4:]]
    assert sorted(names(page)[4:]) == ["fine", "objects", "seeds", "twice[v1]"]
    assert page.locator("#gates tbody tr").count() == 2
    assert page.locator("#gates svg.interval").count() == 2
    assert page.locator("#metrics .chart svg").count() == 5
    until(page, "[...document.querySelectorAll('.tile img')].every((one) => one.naturalWidth)")


def chips(page: Any) -> dict[str, int]:
    texts = page.locator("[data-verdict]").all_inner_texts()
    return {text.rsplit(" ", 1)[0].strip(): int(text.rsplit(" ", 1)[1]) for text in texts}


def test_each_filter_shows_what_it_counts(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    assert chips(page) == {"failed": 2, "error": 1, "soft failure": 1, "passed": 5}
    for verdict, number in chips(page).items():
        page.click(f'[data-verdict="{verdict}"]')
        assert count(page).startswith(f"{number} of 8 · ")
        assert page.get_attribute(f'[data-verdict="{verdict}"]', "aria-pressed") == "true"
        page.click(f'[data-verdict="{verdict}"]')
    for name, value, expected in (
        ("metric", "emd", {"leaked"}),
        ("metric", "sam_clip_cls_sim", {"objects"}),
        ("task", "style_alter", {"fine"}),
        ("task", "no task", {"soft"}),
        ("tag", "animals", {"fine"}),
        ("candidate", "v2", {"twice[v2]"}),
    ):
        page.select_option(f"#filter-{name}", value)
        assert set(names(page)) == expected
        assert count(page).startswith(f"{len(expected)} of 8")
        page.select_option(f"#filter-{name}", "")
    for text, expected in (("monet", {"fine"}), ("LEAKED", {"leaked"}), ("scarf other.png", {"twice[v2]"})):
        page.fill("#filter-q", text)
        assert set(names(page)) == expected
    page.fill("#filter-q", "nothing like it")
    assert names(page) == []
    page.click("text=Clear the filters")
    assert count(page) == "8 of 8 · 9 checks"
    assert page.input_value("#filter-q") == ""


def test_filters_combine_and_stand_in_the_address(tab: Callable[..., Tab], report: Path) -> None:
    one = tab()
    page = one.open(report)
    page.click('[data-verdict="failed"]')
    page.click('[data-verdict="passed"]')
    page.select_option("#filter-metric", "region_emd")
    page.select_option("#filter-task", "color_alter")
    page.select_option("#filter-tag", "people")
    page.fill("#filter-q", "make scarf")
    page.select_option("#filter-sort", "name")
    expected = ["leaked", "seeds", "twice[v1]", "twice[v2]"]
    assert names(page) == expected
    assert count(page) == "4 of 8 · 4 checks"
    again = tab().open(report, page.evaluate("location.hash"))
    assert names(again) == expected
    assert again.input_value("#filter-q") == "make scarf"
    assert again.input_value("#filter-task") == "color_alter"
    assert [button.get_attribute("aria-pressed") for button in again.locator("[data-verdict]").all()] == [
        "false",
        "true",
        "false",
        "true",
    ]


def test_cases_are_sorted(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    page.select_option("#filter-sort", "name")
    assert [name.split("[")[0] for name in names(page)] == sorted(name.split("[")[0] for name in names(page))
    page.select_option("#filter-sort", "file")
    assert names(page)[-1] == "leaked"  # in line 20, all others in line 14
    page.select_option("#filter-sort", "task")
    assert names(page)[-1] == "objects"
    page.select_option("#filter-sort", "worst")
    page.select_option("#filter-metric", "region_emd")
    assert names(page) == ["gone", "leaked", "twice[v2]", "soft", "seeds", "twice[v1]", "fine"]


def test_an_open_case_stands_in_the_address_and_the_back_button_closes_it(
    tab: Callable[..., Tab], report: Path
) -> None:
    page = tab().open(report)
    page.select_option("#filter-metric", "region_emd")
    page.click(".tile >> text=leaked")
    assert is_open(page)
    page.click("#view-side")
    page.click("#toggle-mask")
    page.click("#toggle-heat")
    address = page.evaluate("location.hash")
    again = tab().open(report, address)
    assert is_open(again)
    assert again.inner_text("#case-title").strip() == "leaked"
    for button in ("view-side", "toggle-mask", "toggle-heat", "toggle-boxes"):
        assert again.get_attribute(f"#{button}", "aria-pressed") == page.get_attribute(f"#{button}", "aria-pressed")
    page.go_back()
    closed(page)
    assert page.input_value("#filter-metric") == "region_emd"
    assert focused(page) == "cases/a/leaked"
    page.go_forward()
    until(page, "document.getElementById('case').open")


def test_an_anchor_opens_its_check(tab: Callable[..., Tab], report: Path) -> None:
    row = check(case="leaked", metric="emd")
    page = tab().open(report, anchor(row))
    assert page.inner_text("#case-title").strip() == "leaked"
    assert page.inner_text(".checks [aria-pressed=true] .metric") == "emd"


def test_an_address_of_a_case_that_is_not_there_says_so(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, "#case=cases/a/other")
    assert not is_open(page)
    assert page.inner_text("#notice") == "This report has no case cases/a/other"
    page.click(".tile >> text=fine")
    assert not page.is_visible("#notice")


def test_the_keyboard_alone_leads_to_a_case_and_back(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert focused(page) == "cases"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused(page) == "cases/a/leaked"
    page.keyboard.press("Enter")
    assert is_open(page)
    page.keyboard.press("2")
    assert page.inner_text(".panel h3 >> nth=1") == "emd"
    page.keyboard.press("1")
    for key, button in (("d", "view-side"), ("f", "view-flicker"), ("s", "view-slider")):
        page.keyboard.press(key)
        assert page.get_attribute(f"#{button}", "aria-pressed") == "true"
    for key, button in (("h", "toggle-heat"), ("b", "toggle-boxes"), ("m", "toggle-mask")):
        before = page.get_attribute(f"#{button}", "aria-pressed")
        page.keyboard.press(key)
        assert page.get_attribute(f"#{button}", "aria-pressed") != before
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    page.keyboard.press("j")
    assert page.inner_text("#case-title").strip() == "twice[v2]"
    page.keyboard.press("k")
    page.keyboard.press("Escape")
    closed(page)
    assert focused(page) == "cases/a/leaked"
    page.keyboard.press("/")
    assert focused(page) == "filter-q"
    page.keyboard.type("jk?")
    assert page.input_value("#filter-q") == "jk?"
    page.keyboard.press("Escape")
    assert focused(page) != "filter-q"


def test_focus_stays_in_the_case_and_on_its_button(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    page.focus("#toggle-heat")
    page.keyboard.press("Enter")
    assert focused(page) == "toggle-heat"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('#case') ? 'case' : document.activeElement.tagName"))
    assert seen <= {"case", "BODY"}  # the body is the browser's own controls
    page.keyboard.press("Escape")
    closed(page)
    assert focused(page) == "cases/a/leaked"


def inset(page: Any) -> float:
    return float(page.evaluate("parseFloat(document.querySelector('.of-edited').style.clipPath.split(' ').at(-1))"))


def test_the_slider_follows_the_mouse_and_the_arrow_keys(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    assert inset(page) == 50
    box = page.locator(".stage .canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert inset(page) == pytest.approx(80, abs=2)
    handle = page.locator(".handle").bounding_box()
    assert handle["x"] + 1.5 == pytest.approx(box["x"] + box["width"] * inset(page) / 100, abs=3)
    page.focus("#cut")
    before = inset(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert inset(page) == before - 2
    page.keyboard.press("h")
    assert inset(page) == before - 2
    assert focused(page) == "cut"
    page.keyboard.press("End")
    assert inset(page) == 100


def at(page: Any, x: float, y: float, selector: str = ".stage .canvas") -> tuple[int, ...]:
    """The colour that is seen at a place of the stage, in parts of it."""
    box = page.locator(selector).first.bounding_box()
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        return tuple(
            shot.convert("RGB").getpixel((int(box["x"] + box["width"] * x), int(box["y"] + box["height"] * y)))
        )


def near(seen: tuple[int, ...], color: tuple[int, int, int]) -> bool:
    return max(abs(one - other) for one, other in zip(seen, color, strict=True)) <= 12


def test_source_and_edited_are_on_their_sides_of_the_slider(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, f"{LEAKED}&heat=0&boxes=0")
    until(page, "[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth)")
    assert near(at(page, 0.25, 0.8), RED)
    assert near(at(page, 0.75, 0.8), GREEN)
    page.keyboard.press("d")
    until(page, "[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth)")
    assert near(at(page, 0.5, 0.8, ".stage .frame:first-child .canvas"), RED)
    assert near(at(page, 0.5, 0.8, ".stage .frame:last-child .canvas"), GREEN)


def is_hidden(page: Any) -> bool:
    return bool(page.evaluate("document.querySelector('.of-edited').classList.contains('hidden')"))


def test_images_take_turns_by_hand_only_where_less_motion_is_asked_for(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, f"{LEAKED}&view=flicker&heat=0")
    page.wait_for_timeout(900)
    assert not is_hidden(page)
    page.keyboard.press("Space")
    assert is_hidden(page)
    until(page, "[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth)")
    assert near(at(page, 0.75, 0.8), RED)
    page.click("#swap")
    assert not is_hidden(page)
    moving = tab(reduced_motion="no-preference").open(report, f"{LEAKED}&view=flicker")
    until(moving, "document.querySelector('.of-edited').classList.contains('hidden')")
    until(moving, "!document.querySelector('.of-edited').classList.contains('hidden')")
    moving.keyboard.press("Space")
    before = is_hidden(moving)
    moving.wait_for_timeout(900)
    assert is_hidden(moving) == before


def pixels(page: Any, selector: str) -> np.ndarray:
    """What a canvas holds, `(height, width, 4)`."""
    address = page.evaluate("(selector) => document.querySelector(selector).toDataURL()", selector)
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA")).astype(int)


def test_the_heat_map_is_brightest_at_the_leak_and_clear_where_nothing_was_compared(
    tab: Callable[..., Tab], report: Path
) -> None:
    page = tab().open(report, LEAKED)
    found = pixels(page, ".stage canvas.heat")
    assert found.shape == (SIDE, SIDE, 4)
    compared = np.array([one == "1" for one in leak()["patches"]["compared"]]).reshape(SIDE, SIDE)
    assert (found[~compared][:, 3] == 0).all()
    assert (found[compared][:, 3] > 0).all()
    light = found[..., :3].sum(axis=2) * (found[..., 3] > 0)
    assert divmod(int(light.argmax()), SIDE) == (0, LEAK)
    assert divmod(int(found[..., 3].argmax()), SIDE) == (0, LEAK)


def test_heat_map_and_spot_lie_over_what_the_grid_covers(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    stage = page.locator(".stage .canvas").bounding_box()
    heat = page.locator(".stage canvas.heat").bounding_box()
    scale = stage["width"] / 320
    assert heat["x"] - stage["x"] == pytest.approx(40 * scale, abs=1)
    assert heat["width"] == pytest.approx(240 * scale, abs=1)
    assert (heat["y"], heat["height"]) == (pytest.approx(stage["y"], abs=1), pytest.approx(stage["height"], abs=1))
    spot = page.locator('.stage rect[stroke="#fcff6b"]').bounding_box()
    assert spot["x"] - stage["x"] == pytest.approx(220 * scale, abs=4)
    assert spot["width"] == pytest.approx(60 * scale, abs=6)
    assert "60 %" in page.inner_text(".stage")
    assert "Worst: row 0, column 3, 60 % of the cost, near x 220 to 280, y 0 to 60" in page.inner_text(".notes")


def test_the_leaked_corner_can_be_pointed_at(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    stage = page.locator(".stage .canvas").bounding_box()

    def told(x: float, y: float) -> str:
        page.mouse.move(stage["x"] + stage["width"] * x / 320, stage["y"] + stage["height"] * y / 240)
        return str(page.inner_text(".tip"))

    assert told(270, 20) == "row 0, column 3: 60 % of the cost"
    assert told(50, 20) == "row 0, column 0: 3.6 % of the cost"
    assert told(160, 120) == "row 2, column 2: not compared"
    assert told(10, 20) == "not seen by the model"
    page.mouse.move(stage["x"] - 10, stage["y"] - 10)
    assert page.locator(".tip").count() == 0


def test_the_leak_is_seen_in_the_overview_and_beside_the_stage(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    assert page.locator('.tile[data-key="cases/a/leaked"] canvas.heat').count() == 1
    assert page.locator(".tile canvas.heat").count() == 1
    page.click(".tile >> text=leaked")
    assert page.locator("#close-up canvas.heat").count() == 1


def test_the_patch_mask_veils_what_was_not_compared(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, f"{LEAKED}&mask=1&view=side&boxes=0&heat=0")
    found = page.evaluate(
        "[...document.querySelectorAll('.of-edited .overlay > rect')].map((one) => "
        "['x', 'y', 'width', 'height'].map((name) => Number(one.getAttribute(name))))"
    )
    # Left and right of the square that the model sees, and the four patches in the middle.
    inner = [[x, y, 60, 60] for y in (60, 120) for x in (100, 160)]
    assert sorted(found) == sorted([[0, 0, 40, 240], [280, 0, 40, 240], *inner])
    assert "unedit_area: 12 of 16 patches compared" in page.inner_text(".notes")


def drawn_boxes(page: Any, side: str) -> list[list[float]]:
    found: list[list[float]] = page.evaluate(
        "(side) => [...document.querySelectorAll(`.of-${side} rect[stroke-dasharray]`)].map((one) => "
        "['x', 'y', 'width', 'height'].map((name) => Number(one.getAttribute(name))))",
        side,
    )
    return found


def test_boxes_are_where_the_case_has_them(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    for side in ("source", "edited"):
        assert drawn_boxes(page, side) == [[120, 60, 80, 120]]
        layer = page.locator(f".of-{side}").bounding_box()
        box = page.locator(f".of-{side} rect[stroke-dasharray]").bounding_box()
        assert (box["x"] - layer["x"]) / layer["width"] == pytest.approx(120 / 320, abs=0.01)
        assert (box["y"] - layer["y"]) / layer["height"] == pytest.approx(60 / 240, abs=0.01)
    page.keyboard.press("b")
    assert drawn_boxes(page, "source") == []
    pairs = tab().open(report, "#case=cases/a/objects")
    assert drawn_boxes(pairs, "source") == [[20, 20, 40, 40]]
    assert drawn_boxes(pairs, "edited") == [[40, 30, 40, 40]]


def test_objects_are_cut_out_with_their_mask_on_the_background(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, "#case=cases/a/objects&mask=1")
    until(page, "document.querySelectorAll('.stage .overlay canvas').length === 2")
    for side, color in (("source", RED), ("edited", GREEN)):
        found = pixels(page, f'#pairs canvas[aria-label*="{side}"]')
        assert found.shape == (240, 240, 4)
        assert np.abs(found[20:220, 20:100, :3] - np.array(color)).max() <= 12
        assert (found[20:220, 140:220, :3] == [0, 0, 255]).all()
        assert (found[..., 3] == 255).all()
    assert page.inner_text("#pairs .value") == "0.7"
    stage = page.locator(".of-source").bounding_box()
    mask = page.locator(".of-source .overlay canvas").bounding_box()
    assert (mask["x"] - stage["x"]) / stage["width"] == pytest.approx(20 / 320, abs=0.01)
    assert mask["width"] / stage["width"] == pytest.approx(40 / 320, abs=0.01)


def places(page: Any) -> dict[str, float]:
    """Where the marks of the scale stand, by what is written under them."""
    found: dict[str, float] = page.evaluate(
        """() => {
          const texts = [...document.querySelectorAll(".scale text")].slice(1);
          const lines = [...document.querySelectorAll(".scale .leader")];
          const places = lines.map((line) => Number(line.getAttribute("x1")));
          return Object.fromEntries(texts.map((text, index) => [text.textContent, places[index]]));
        }"""
    )
    return found


@pytest.mark.parametrize(
    ("address", "marks", "band"),
    [
        (
            LEAKED,
            {"9": 9.0, "baseline 8.5": 8.5, "threshold 5": 5.0, "nothing done 0.2": 0.2},
            (5.4, 4.6),
        ),
        (
            "#case=cases/a/objects",
            {"destroyed 0.1": 0.1, "threshold 0.6": 0.6, "0.7": 0.7, "baseline 0.75": 0.75, "nothing done 0.9": 0.9},
            (0.58, 0.62),
        ),
    ],
)
def test_the_scale_has_every_mark_in_its_place_and_better_to_the_right(
    tab: Callable[..., Tab], report: Path, address: str, marks: dict[str, float], band: tuple[float, float]
) -> None:
    page = tab().open(report, address)
    found = places(page)
    if address == LEAKED:  # 21 beyond everything else, which takes 4.4: at the end, and no measure for the rest
        assert found.pop("far off: destroyed 30") == 4
    assert sorted(found, key=lambda name: found[name]) == list(marks)
    worst, best = next(iter(marks.values())), list(marks.values())[-1]

    def place(value: float) -> float:
        return 14 + (360 - 28) * (value - worst) / (best - worst)

    for name, value in marks.items():
        assert found[name] == pytest.approx(place(value), abs=0.01)
    hatched = page.locator(".scale .noise")
    assert float(hatched.get_attribute("x")) == pytest.approx(place(band[0]), abs=0.01)
    assert float(hatched.get_attribute("width")) == pytest.approx(place(band[1]) - place(band[0]), abs=0.01)
    good = page.locator(".scale .side")
    assert float(good.get_attribute("x")) == pytest.approx(place(next(v for n, v in marks.items() if "thres" in n)))
    label = page.get_attribute(".scale", "aria-label")
    assert all(word in label for word in ("must be", "destroyed", "nothing done", "baseline", "harmless changes"))


def test_labels_of_a_scale_do_not_lie_on_each_other(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    boxes = [one.bounding_box() for one in page.locator(".scale text").all()]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = (
                one["x"] + one["width"] <= other["x"] + 1
                or other["x"] + other["width"] <= one["x"] + 1
                or abs(one["y"] - other["y"]) >= min(one["height"], other["height"]) - 3
            )
            assert apart


def test_the_difference_to_the_baseline_is_told(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, LEAKED)
    assert "Baseline 8.5: worse by 0.5, tolerance 1" in page.inner_text(".notes")


def test_candidates_of_a_case_stand_beside_each_other(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, "#case=cases/a/twice~v1")
    cards = page.locator("#candidates .card")
    assert [text.split("\n")[0].strip() for text in cards.all_inner_texts()] == ["v2", "v1"]
    assert "better by 1" in cards.nth(1).inner_text()
    assert "worse by 4" in cards.nth(0).inner_text()
    cards.nth(0).click()
    assert page.inner_text("#case-title").strip() == "twice[v2]"
    assert "twice~v2" in page.evaluate("location.hash")
    assert page.get_attribute("#candidates .card >> nth=0", "aria-current") == "true"


def test_seeds_can_be_looked_at(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report, "#case=cases/a/seeds&boxes=0")
    assert page.locator("h3 >> text=Seeds: 2 of 3 pass, 2 have to").count() == 1
    assert page.locator(".scale .tick").count() == 3
    assert page.is_visible("text=over seeds: mean 4, standard deviation 3.606 of 3 scores")
    page.click("text=seed 2")
    until(page, "[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth)")
    assert near(at(page, 0.75, 0.8), BLUE)
    assert "other.png" in page.inner_text(".stage figcaption")
    assert "seed=2" in page.evaluate("location.hash")


def test_of_another_seed_nothing_is_told_that_the_deciding_one_cost(tab: Callable[..., Tab], tmp_path: Path) -> None:
    first, second = save(tmp_path / "a.png", GREEN, (320, 240)), save(tmp_path / "b.png", BLUE, (64, 48))
    repeats = tuple(Repeat(seed, str(one), 9.0, -4.0, Outcome.FAILED) for seed, one in ((1, first), (2, second)))
    sizes: dict[str, Any] = {"source_size": (320, 240), "edited_size": (320, 240)}
    row = check(first, first, score=9.0, quota=2, repeats=repeats, details=leak(), **sizes)
    write_page(tmp_path / "report.html", [row], [], RunNotes(), PageSettings())
    page = tab().open(tmp_path / "report.html", anchor(row))
    assert page.locator("#case canvas.heat").count() == 2
    page.click("text=seed 2")
    assert page.locator("#case canvas.heat").count() == 0
    assert page.locator(".legend").count() == 0
    caption = page.inner_text(".stage figcaption")
    assert "b.png 64×48" in caption
    assert caption.endswith("the edited image is shown at the source's size, as it was compared")
    page.hover(".stage .canvas")
    assert page.locator(".tip").count() == 0


def test_an_image_that_is_gone_is_a_placeholder(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    assert "gone.png" in page.inner_text('.tile[data-key="cases/a/gone"] .placeholder')
    page.click(".tile >> text=gone")
    assert page.inner_text(".stage .placeholder") == f"image not found: {report.parent / 'gone.png'}"
    assert page.locator(".stage img").count() == 1


def test_linked_images_are_loaded_and_one_that_was_deleted_is_a_placeholder(
    tab: Callable[..., Tab], tmp_path: Path
) -> None:
    images = [save(tmp_path / name, GREEN) for name in ("a b#%c?.png", "deleted.png", "third.png")]
    path = tmp_path / "report.html"
    cases = [check(images[0], image, case=image.stem.replace(" ", "")) for image in images[1:]]
    write_page(path, cases, [], RunNotes(), PageSettings(images="link"))
    images[1].unlink()
    one = tab()
    page = one.open(path, images=tuple(images))
    page.wait_for_selector(".placeholder")
    assert page.inner_text(".placeholder") == f"{images[1]}: the image cannot be loaded"
    assert page.locator('.tile[data-key="cases/a/third"] img').evaluate("(image) => image.decode().then(() => 1)") == 1
    # That the browser says so in its console is its own; nothing else may be there.
    assert [problem for problem in one.problems if "ERR_FILE_NOT_FOUND" not in problem] == []
    one.problems.clear()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation_is_the_browsers_where_the_file_itself_is_shown(
    tab: Callable[..., Tab], tmp_path: Path, suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / f"turned.{suffix}"
    Image.new("RGB", (60, 40), GREEN).save(file, exif=exif)
    row = check(file, file, source_size=(40, 60), edited_size=(40, 60))
    write_page(tmp_path / "report.html", [row], [], RunNotes(), PageSettings(side=None))
    page = tab().open(tmp_path / "report.html")
    until(page, "document.querySelector('.tile img').naturalWidth")
    size = page.evaluate(
        "[document.querySelector('.tile img').naturalWidth, document.querySelector('.tile img').naturalHeight]"
    )
    assert size == [40, 60]


INJECTED = [*pages.HOSTILE, "w" * 10_000, "many words " * 1000]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with each hostile text in every field of a case."""
    folder = tmp_path_factory.mktemp("hostile")
    found = []
    for index, text in enumerate(INJECTED):
        fields = dict.fromkeys(("case", "metric", "instruction", "task", "detail", "profile", "device", "scope"), text)
        found.append(
            check(
                f"./{text}",
                f"./{text}2",
                **fields,
                node_id=f"{index}::{text}",
                file=f"{text}.edit.yaml",
                candidate=text,
                covered_by=text,
                tags=(text, "all"),
                versions={text: text},
                fingerprint=text,
                higher_is_better=False,
                score=9.0,
                repeats=(Repeat(1, f"./{text}", 3.0, 2.0, Outcome.PASSED, text, text),),
                quota=1,
            )
        )
        found.append(
            soft(case=text, reason=text, detail=text, node_id=f"{index}b::b::c", metric=text, candidate=text, tags=())
        )
    path = folder / "report.html"
    judged = [
        gate(GateSlice(text, 9.0, 1, False, reason=text), rule=text, place=text, candidate=text) for text in INJECTED
    ]
    notes = RunNotes(not_run=INJECTED, files={text: text for text in INJECTED}, facts={text: text for text in INJECTED})
    write_page(path, found, judged, notes, PageSettings())
    return path


FOREIGN = """() => {
  const all = [...document.querySelectorAll("*")];
  const seen = document.querySelector("dialog[open]") ?? document.body;
  return {
    scripts: document.querySelectorAll("script:not([id])").length,
    elements: [...new Set(all.map((one) => one.localName))],
    handlers: all.flatMap((one) => [...one.attributes]).filter((one) => /^on/i.test(one.name)).length,
    links: all.map((one) => one.getAttribute("href")).filter((one) => one && !one.startsWith("#")),
    hidden: /[\\u202a-\\u202e\\u2066-\\u2069\\u0000-\\u0008\\u200b\\u001b]/.test(seen.innerText),
  };
}"""


def test_texts_are_shown_as_text_whatever_they_hold(tab: Callable[..., Tab], hostile: Path, report: Path) -> None:
    page = tab().open(hostile)
    elements: set[str] = set()
    known = set(tab().open(report, "#case=cases/a/seeds").evaluate(FOREIGN)["elements"])
    for number in range(len(INJECTED)):
        page.locator(".tile").nth(number).click()
        found = page.evaluate(FOREIGN)
        assert (found["scripts"], found["handlers"], found["links"], found["hidden"]) == (1, 0, ["data:,"], False)
        elements |= set(found["elements"])
        assert page.locator("dialog img").count() == 0
        page.keyboard.press("Escape")
        closed(page)
    assert elements <= known
    text = page.inner_text("body")
    for shown in ("<script>alert(1)</script>", "\\u202eevil\\u202c", "\\x00\\x07\\x1b[31m", "{{ 7 * 7 }}", "שלום עולם"):
        assert shown in text


def test_a_hostile_case_can_be_filtered_and_found_by_its_address(tab: Callable[..., Tab], hostile: Path) -> None:
    page = tab().open(hostile)
    tags = page.locator("#filter-tag option").all()
    assert len(tags) == len(INJECTED) + 2
    for option in tags[2:5:2]:
        page.select_option("#filter-tag", value=option.get_attribute("value"))
        assert page.locator(".tile").count() in (1, len(INJECTED))
        again = tab().open(hostile, page.evaluate("location.hash"))
        assert names(again) == names(page)


@pytest.mark.parametrize("width", [1440, 390])
def test_long_texts_do_not_widen_the_page(tab: Callable[..., Tab], hostile: Path, width: int) -> None:
    page = tab(viewport={"width": width, "height": 900}).open(hostile)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.fill("#filter-q", "w" * 100)
    page.locator(".tile").first.click()
    assert page.evaluate("document.getElementById('case').scrollWidth") <= width
    head = page.locator(".case-head").bounding_box()
    assert head["height"] < 600


SCHEMES = ("light", "dark")


@pytest.mark.parametrize(
    ("scheme", "width", "address"),
    [
        *((scheme, 1440, address) for scheme in SCHEMES for address in ("", LEAKED, "#case=cases/a/twice~v2")),
        ("light", 1440, "#case=cases/a/objects&view=side&mask=1"),
        ("light", 390, ""),
        ("light", 390, LEAKED),
    ],
)
def test_axe_finds_no_barrier(tab: Callable[..., Tab], report: Path, scheme: str, width: int, address: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = tab(color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True).open(report, address)
    page.wait_for_timeout(100)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_verdicts_stand_out_and_do_not_differ_in_colour_alone(
    tab: Callable[..., Tab], report: Path, scheme: str
) -> None:
    page = tab(color_scheme=scheme).open(report)

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in color[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    signs = {}
    for outcome in ("passed", "failed", "soft-failure", "error"):
        ink, ground, sign, card = page.evaluate(
            """(name) => {
              const mark = document.querySelector(`.tile .mark.${name}`);
              const style = getComputedStyle(mark);
              return [style.color, style.backgroundColor, getComputedStyle(mark, "::before").content,
                getComputedStyle(mark.closest(".tile")).backgroundColor];
            }""",
            outcome,
        )
        signs[outcome] = sign
        for one, other, least in ((ink, ground, 4.5), (ground, card, 3.0)):
            light, dark = sorted((luminance(one), luminance(other)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (outcome, one, other)
    assert len(set(signs.values())) == 4


def test_colours_can_be_chosen(tab: Callable[..., Tab], report: Path) -> None:
    page = tab(color_scheme="light").open(report)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) == light
    page.click("#theme")
    assert page.evaluate(ground) != light
    dark = tab(color_scheme="dark").open(report).evaluate(ground)
    assert page.evaluate(ground) == dark


def test_without_javascript_verdict_gates_and_tables_are_there(tab: Callable[..., Tab], report: Path) -> None:
    page = tab(java_script_enabled=False).open(report)
    text = page.inner_text("main")
    for shown in (
        "Failed",
        "mean of region_emd ≤ 4",
        "95 % upper bound 6",
        "sam_clip_cls_sim",
        "style_alter",
        "need JavaScript",
    ):
        assert shown in text
    assert not page.is_visible("#filters")


def test_two_thousand_checks_open_and_are_filtered(tab: Callable[..., Tab], tmp_path: Path) -> None:
    images = [save(tmp_path / f"{index}.png", (index, 0, 0), (16, 16)) for index in range(8)]
    found = [
        check(
            images[0], images[index % 8], case=f"c{index // 2}", metric=metric, score=float(index % 9), details=leak()
        )
        for index in range(2000)
        for metric in [("emd", "region_emd")[index % 2]]
    ]
    path = tmp_path / "report.html"
    assert write_page(path, found, [], RunNotes(), PageSettings()).size < 6e6
    page = tab().open(path)
    assert count(page) == "1000 of 1000 · 2000 checks"
    assert page.locator(".tile").count() == 48
    before = page.evaluate("performance.now()")
    page.fill("#filter-q", "c99")
    page.select_option("#filter-metric", "emd")
    assert count(page) == "11 of 1000 · 11 checks"
    assert page.evaluate("performance.now()") - before < 2000
    page.fill("#filter-q", "")
    page.click("#more")
    assert page.locator(".tile").count() == 1000
    assert page.evaluate("[...document.querySelectorAll('.tile')].indexOf(document.activeElement)") == 48
    unloaded = page.evaluate("[...document.querySelectorAll('.tile img')].filter((one) => !one.src).length")
    assert unloaded > 500  # images are loaded when they come near the screen


def test_images_are_loaded_when_they_are_seen(tab: Callable[..., Tab], tmp_path: Path) -> None:
    images = [save(tmp_path / f"{index}.png", (index, 0, 0), (16, 16)) for index in range(40)]
    path = tmp_path / "report.html"
    write_page(path, [check(one, one, case=one.stem) for one in images], [], RunNotes(), PageSettings())
    page = tab(viewport={"width": 700, "height": 400}).open(path)
    until(page, "document.querySelector('.tile img').naturalWidth")
    last = page.locator(".tile").last
    assert last.locator("img").get_attribute("src") is None
    last.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('.tile img')].at(-1).naturalWidth")


def test_links_of_the_tables_open_cases_and_filters(tab: Callable[..., Tab], report: Path) -> None:
    page = tab().open(report)
    page.click("#tasks a >> text=style_alter")
    assert names(page) == ["fine"]
    page.click("#metrics th a >> text=sam_clip_cls_sim")
    assert names(page) == ["objects"]
    page.click(".first a >> text=leaked")
    assert page.inner_text("#case-title").strip() == "leaked"
    page.keyboard.press("Escape")
    closed(page)
    assert page.evaluate("document.activeElement.textContent") == "leaked"
    address = page.evaluate("location.hash")
    page.click("nav >> text=Run")
    assert page.evaluate("location.hash") == address
    assert focused(page) == "run"
