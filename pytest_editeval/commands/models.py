"""`editeval models`: the checkpoints that configurations name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pytest_editeval.commands.reading import add_root_only, confinement_of
from pytest_editeval.statuses import CHECKS_FAILED


def add(commands: Any) -> None:
    """Declare the commands."""
    models = commands.add_parser("models", help="pin the checkpoints that configurations name: `editeval models lock`")
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    lock = actions.add_parser("lock", help="write or check a digest of every file of the checkpoints")
    lock.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="configuration file whose checkpoints are locked (repeatable; default: the embedded profile)",
    )
    lock.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("editeval.lock.json"),
        help="the lock file (default: editeval.lock.json)",
    )
    lock.add_argument("--check", action="store_true", help="write nothing; exit status 1 where the lock is not current")
    add_root_only(lock)
    lock.set_defaults(run=_lock)


def _lock(args: argparse.Namespace) -> int:
    from pytest_editeval.config import load_profile
    from pytest_editeval.errors import EditEvalError, display_path
    from pytest_editeval.escapes import visible
    from pytest_editeval.lock_file import differences, read_lock, unused, write_lock
    from pytest_editeval.scoring.locking import lock_of

    if args.output.is_dir() or not args.output.parent.is_dir():
        raise EditEvalError(f"--output {display_path(args.output)}: that is a directory, or lies in none")
    known = read_lock(args.output) if args.check else None
    confinement = confinement_of(args)
    found = lock_of([load_profile(path, confinement) for path in args.config or [None]], args.output.parent)
    counts = f"{len(found)} checkpoints, {sum(len(one.files) for one in found.values())} files"
    if known is None:
        write_lock(args.output, found)
        print(f"written: {display_path(args.output)} ({counts})")
        return 0
    lines = [*differences(known, found), *unused(known, found)]
    for line in lines:
        print(visible(line))
    print(f"{display_path(args.output)}: {len(lines)} differences in {counts}")
    return CHECKS_FAILED if lines else 0
