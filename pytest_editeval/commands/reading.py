"""What the commands that read case files and images have in common: how much, and from where."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_editeval.confinement import Confinement

ROOT_ONLY = "--root-only"


def add_root_only(parser: Any) -> None:
    """Declare `--root-only`."""
    parser.add_argument(
        ROOT_ONLY,
        choices=("on", "off"),
        default="on",
        help="case files may read below this directory only, or below their own (default: on)",
    )


def add_max_pixels(parser: Any) -> None:
    """Declare `--max-pixels`."""
    parser.add_argument(
        "--max-pixels", metavar="N", help="larger images are refused: a number or 100MP (default: 178956970)"
    )


def confinement_of(arguments: argparse.Namespace, also: Sequence[Path] = ()) -> Confinement | None:
    """What case files may read; `also` are directories that the command line names."""
    from pytest_editeval.confinement import Confinement

    return Confinement(Path.cwd(), also, ROOT_ONLY) if arguments.root_only == "on" else None


def limit_pixels_of(arguments: argparse.Namespace) -> None:
    """Set the limit of the process; an `EditEvalError` says what is allowed."""
    from pytest_editeval.pixel_limit import limit_pixels, parse_pixels

    if arguments.max_pixels is not None:
        limit_pixels(parse_pixels("--max-pixels", arguments.max_pixels))
