"""Named hostile files, each of about a given size, and a program that reads all of them and tells time and memory.

`python tests/fuzzing/hostile.py FOLDER BYTES` prints a JSON mapping: name -> [seconds of CPU, peak MB so far, result].
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CASE = (
    "- {id: %s, instruction: i, source: a.png, edited: b.png, coords: [[1, 2, 3, 4]], metrics: {emd: {threshold: 1}}}\n"
)


SMALLEST = "- {id: c%d, instruction: i, source: a, metrics: {emd: 1}}\n"
FIVE = "{emd: 1, region_emd: 1, dinov3_structure_similarity: 1, sam_clip_cls_sim: 1, sam_dino_cls_sim: 1}"
FIVE_CHECKS = f"- {{id: c%d, instruction: i, source: a, coords: [[1, 2, 3, 4]], metrics: {FIVE}}}\n"
EVERYTHING = """- id: case_%d
  instruction: "Change the colour of the scarf to red, and leave everything else of the picture as it is."
  task: color_alter
  tags: [people, clothes, outdoor]
  source: images/source.png
  edited: "edited/image.png"
  coords: [[10, 20, 110, 220], [30, 40, 130, 240]]
  metrics:
    emd: {threshold: 5.0, scope: unedit_area}
    region_emd: 3.5
    dinov3_structure_similarity: {threshold: 0.9}
    sam_dino_cls_sim: {threshold: 0.8, pairs: [{source: [1, 2, 30, 40], edited: [1, 2, 30, 40]}]}
"""


def repeated(text: str, size: int) -> str:
    return text * (size // len(text))


def numbered(pattern: str, size: int) -> str:
    count = size // (len(pattern) + len(str(size // len(pattern))) - 2)
    return "".join(pattern % number for number in range(count))


def case_files(size: int) -> Iterator[tuple[str, str]]:
    """Case files: names and contents."""
    # Just within the limits of a file, then beyond them.
    yield "good cases", "cases:\n" + numbered(CASE.replace("%s", "c%d"), min(size, 2_300_000))
    yield "good cases of five checks", "cases:\n" + numbered(FIVE_CHECKS, min(size, 2_600_000))
    yield "good cases with everything", "cases:\n" + numbered(EVERYTHING, min(size, 6_900_000))
    for name, case in {"smallest": SMALLEST, "five checks": FIVE_CHECKS, "everything": EVERYTHING}.items():
        yield f"cases, {name}", "cases:\n" + numbered(case, size)
    defaults = f"defaults: {{instruction: i, source: a, coords: [[1, 2, 3, 4]], metrics: {FIVE}}}"
    yield "cases of the defaults", f"{defaults}\ncases:\n" + numbered("- {id: c%d}\n", size)
    yield "one scalar", "a: " + "x" * size
    yield "one id", "cases: [{id: " + "x" * size + "}]"
    yield (
        "one instruction",
        "cases:\n" + CASE.replace("%s", "a").replace("instruction: i", "instruction: " + repeated("x ", size)),
    )
    yield "one number", "a: " + "1" * size
    yield "sexagesimal", "a: " + repeated("1:", size) + "1"
    yield "number with underscores", "a: " + repeated("1_", size)
    yield "list of text", "cases:\n" + repeated("- x\n", size)
    yield "flow list", "cases: [" + repeated("1,", size) + "]"
    yield "mapping", numbered("k%d: 1\n", size)
    yield "flow mapping", "{" + numbered("k%d: 1, ", size) + "}"
    yield "keys of a case", "cases:\n- id: a\n" + numbered("  k%d: 1\n", size)
    yield "long keys", numbered("k" * 1000 + "%d: 1\n", size)
    yield "one long key", "k" * size + ": 1"
    yield "number keys of one hash", "".join(f"{n * (2**61 - 1)}: 1\n" for n in range(size // 25))
    yield "comments", repeated("# c\n", size)
    for name, sign in {"brackets": "[", "dashes": "- ", "questions": "? ", "double quotes": '"', "quotes": "'"}.items():
        yield name, repeated(sign, size)
    yield "empty items", repeated("-\n", size)
    yield "empty keys", repeated("?\n", size)
    yield "anchors", numbered("- &a%d 1\n", size)
    yield "bare anchors", repeated("&a ", size)
    yield "aliases", "- &a 1\n" + repeated("- *a\n", size)
    yield "tags", repeated("!a ", size)
    yield "spaces", " " * size
    yield "tabs", "\t" * size
    yield "line breaks", "\n" * size
    yield "documents", repeated("---\n", size)
    yield "duplicate keys", repeated("a: 1\n", size)
    yield "escapes", 'a: "' + repeated("\\x41", size) + '"'
    yield "wrong cases", "cases:\n" + numbered("- {id: a%d, x: 1}\n", size)
    yield "wrong boxes", "cases:\n- id: a\n  coords: [" + repeated("[a, a, a, a], ", size) + "]"
    yield "wrong gates", "gates:\n" + repeated("- {metric: emd}\n", size)
    yield "unknown names", "cases:\n" + numbered(CASE.replace("emd", "x%d").replace("%s", "a"), size)
    boxes = repeated("[1, 2, 3, 4], ", size // 4)
    yield (
        "large defaults",
        f"defaults: {{source: a, coords: [{boxes}], metrics: {{emd: 1}}}}\ncases:\n"
        + numbered("- {id: a%d, instruction: b}\n", size),
    )
    yield (
        "placeholders",
        "cases:\n" + CASE.replace("%s", "a").replace("source:", f"edited_pattern: '{'{' * size}', source:"),
    )
    yield "laughs", "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 50))
    yield (
        "merges",
        "m0: &m0 {k0: 1}\n" + "".join(f"m{n}: &m{n} {{<<: *m{n - 1}, k{n}: 1}}\n" for n in range(1, size // 30)),
    )
    yield "aliases in cases", f"x: &x [{'a,' * 1000}]\ncases:\n- id: a\n  coords: [{'*x,' * 1990}]\n"


def configurations(size: int) -> Iterator[tuple[str, str]]:
    """Configuration files: names and contents."""
    head = "_base_: {b: b.yaml}\nmetric_configs: {emd: {default_config: {model_path: "
    yield "unclosed references", f"{head}'{repeated('${', size)}'}}}}}}"
    yield "nested defaults", f"{head}'{'${env:NO_SUCH:' * 59}{'x' * (size - 900)}{'}' * 59}'}}}}}}"
    yield "braces", f"{head}'${{env:NO_SUCH:{'}' * size}'}}}}}}"
    yield "names", f"{head}'${{{repeated('a.', size)}b}}'}}}}}}"
    yield "many references", "metric_configs:\n  emd:\n" + numbered("    k%d: '${metric_configs.emd}'\n", size)
    yield "doubled text", "t0: xxxxxxxxxx\n" + "".join(f"t{n}: '${{t{n - 1}}}${{t{n - 1}}}'\n" for n in range(1, 60))
    yield (
        "many gates",
        "metric_configs: {emd: {default_config: {model_path: a}}}\ngates:\n" + repeated("- {metric: emd}\n", size),
    )
    yield "large mapping", "metric_configs:\n" + numbered("  k%d: 1\n", size)


def peak_megabytes() -> int:
    """The largest memory of this process so far. What `resource` tells begins with that of its parent."""
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main(folder: Path, size: int) -> None:
    from pytest_editeval.cases import load_cases
    from pytest_editeval.config import load_profile
    from pytest_editeval.confinement import Confinement
    from pytest_editeval.errors import EditEvalError

    found = {}
    confinement = Confinement(folder)  # as pytest has one
    (folder / "b.yaml").write_text("a: b\n", "utf-8")
    for reader, files, suffix in ((load_cases, case_files, ".edit.yaml"), (load_profile, configurations, ".yaml")):
        for name, content in files(size):
            path = folder / f"{name.replace(' ', '-')}{suffix}"
            path.write_text(content, "utf-8")
            before = time.process_time()
            try:
                reader(path, confinement)
                result = "read"
            except EditEvalError as error:
                result = str(error)
            seconds = time.process_time() - before
            path.unlink()
            found[name] = [round(seconds, 2), peak_megabytes(), result]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
