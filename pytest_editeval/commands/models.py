"""`editeval models`: what a checkpoint is, and the checkpoints that configurations name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pytest_editeval.commands.reading import add_root_only, confinement_of
from pytest_editeval.statuses import CHECKS_FAILED


def add(commands: Any) -> None:
    """Declare the commands."""
    models = commands.add_parser("models", help="say what a checkpoint is, pin those of configurations")
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
    info = actions.add_parser("info", help="say what a checkpoint is: family, tokens, input, normalisation, digests")
    info.add_argument("path", metavar="PATH", help="a directory, a .pth file, or an id on the Hugging Face hub")
    info.add_argument("--domain", choices=("web", "satellite"), help="of the images an original DINOv3 file is for")
    info.add_argument("--json", action="store_true", help="print a JSON object")
    info.set_defaults(run=_info)


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


def _info(args: argparse.Namespace) -> int:
    from pytest_editeval.escapes import visible
    from pytest_editeval.vision.description import describe

    found = describe(args.path, args.domain)
    if args.json:
        print(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
        return 0
    lines = found.lines()
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        print(visible(f"{label:{width}}  {value}"))
    return 0
