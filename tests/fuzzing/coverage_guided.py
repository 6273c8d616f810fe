"""Coverage-guided fuzzing of a reader, with atheris: `python tests/fuzzing/coverage_guided.py TARGET SECONDS`.

Prints executions, edges and features as libFuzzer counts them; an input that breaks the promise of `targets.run` is
written to the working directory, and the exit status is not 0. `pip install '.[fuzz]'` has what it needs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pytest_editeval", "yaml"]):
    from fuzzing import seeds, targets


MAX_LENGTH = 16_384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--corpus", type=Path, help="keeps interesting inputs; a folder of the system's by default")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, corpus = folder / "files", asked.corpus or folder / "corpus"
        files.mkdir()
        corpus.mkdir(parents=True, exist_ok=True)
        (files / targets.BASE_FILE).write_text(targets.BASE_TEXT, "utf-8")
        for number, content in enumerate(seeds.seeds(asked.target)):
            (corpus / f"seed{number}").write_bytes(content)
        words = folder / "words"
        words.write_text("".join(f"{json.dumps(word)}\n" for word in seeds.words()), "utf-8")
        options = [f"-max_total_time={asked.seconds}", f"-dict={words}", f"-max_len={MAX_LENGTH}", "-timeout=5"]
        options += ["-rss_limit_mb=2048", "-print_final_stats=1"]

        def one(content: bytes) -> None:
            targets.run(asked.target, content, files)

        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
