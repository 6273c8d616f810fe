"""The `editeval` command as a program."""

from __future__ import annotations

import subprocess
import sys

EDITEVAL = [sys.executable, "-c", "import sys; from pytest_editeval.cli import main; sys.exit(main())"]


def test_a_reader_that_has_seen_enough() -> None:
    """`editeval schema | head -1`."""
    with subprocess.Popen([*EDITEVAL, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_unknown_command_names_the_known_ones() -> None:
    process = subprocess.run([*EDITEVAL, "nonsense"], capture_output=True, text=True)
    assert process.returncode == 4
    assert "invalid choice: 'nonsense'" in process.stderr
    assert "schema" in process.stderr
