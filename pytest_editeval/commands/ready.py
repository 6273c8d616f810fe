"""`editeval models profiles`: configuration files for common sets of checkpoints, to begin one's own with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "ready"


def add(actions: Any) -> None:
    """Declare the action."""
    profiles = actions.add_parser("profiles", help="print ready configuration files for common sets of checkpoints")
    profiles.add_argument("name", metavar="NAME", nargs="?", help="print this one (default: list them)")
    profiles.set_defaults(run=_profiles)


def ready_profiles() -> dict[str, str]:
    """The text of each ready configuration file, by the name of its profile."""
    return {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yaml"))}


def notes(text: str) -> list[str]:
    """What the comment at the top of a file says, a line for each sentence or two."""
    lines = text.splitlines()
    return [line.removeprefix("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]]


def _profiles(args: argparse.Namespace) -> int:
    from pytest_editeval.errors import EditEvalError, known_names, unknown

    known = ready_profiles()
    if args.name is None:
        blocks = ["\n".join([name, *(f"  {line}" for line in notes(text))]) for name, text in known.items()]
        print("\n".join([*blocks, "print one into a file of yours: editeval models profiles NAME > FILE"]))
        return 0
    if args.name not in known:
        raise EditEvalError(f"{unknown('ready profile', args.name, known)} ({known_names(known)})")
    sys.stdout.write(known[args.name])
    return 0
