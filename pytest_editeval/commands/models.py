"""`editeval models`: which checkpoints there are, what one is, those that configurations name, and what they trade."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pytest_editeval.commands import drift, ready
from pytest_editeval.commands.reading import add_root_only, confinement_of
from pytest_editeval.statuses import CHECKS_FAILED


def add(commands: Any) -> None:
    """Declare the commands."""
    models = commands.add_parser(
        "models", help="list, fetch, describe, pin and verify checkpoints, and measure what their settings cost"
    )
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list published checkpoints with size, licence and access")
    listed.add_argument("--json", action="store_true", help="print a JSON array")
    listed.set_defaults(run=_list)
    fetch = actions.add_parser("fetch", help="download checkpoints from the Hugging Face hub")
    fetch.add_argument("paths", metavar="ID", nargs="*", help="an id on the hub")
    fetch.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="configuration file whose checkpoints are fetched (repeatable)",
    )
    add_root_only(fetch)
    fetch.set_defaults(run=_fetch)
    info = actions.add_parser("info", help="say what a checkpoint is: family, tokens, input, normalisation, digests")
    info.add_argument("path", metavar="PATH", help="a directory, a .pth file, or an id on the Hugging Face hub")
    info.add_argument("--domain", choices=("web", "satellite"), help="of the images a bare file of weights is for")
    info.add_argument("--architecture", metavar="NAME", help="timm's name of the network a bare file of weights is for")
    info.add_argument("--json", action="store_true", help="print a JSON object")
    info.set_defaults(run=_info)
    lock = actions.add_parser("lock", help="write or check a digest of every file of the checkpoints")
    _add_locked(lock, "--output", "the lock file (default: editeval.lock.json)")
    lock.add_argument("--check", action="store_true", help="write nothing; exit status 1 where the lock is not current")
    lock.set_defaults(run=_lock)
    verify = actions.add_parser("verify", help="check every file of the checkpoints against a lock file")
    _add_locked(verify, "--lock", "the lock file (default: editeval.lock.json)")
    verify.set_defaults(run=_lock, check=True)
    drift.add(actions)
    ready.add(actions)


def _add_locked(parser: Any, option: str, help_text: str) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="configuration file whose checkpoints are locked (repeatable; default: the embedded profile)",
    )
    parser.add_argument(
        option, dest="lock", metavar="FILE", type=Path, default=Path("editeval.lock.json"), help=help_text
    )
    parser.set_defaults(option=option)
    add_root_only(parser)


def _list(args: argparse.Namespace) -> int:
    from pytest_editeval.vision.published import GATED, PUBLISHED

    if args.json:
        print(json.dumps([one._asdict() for one in PUBLISHED], indent=2))
        return 0
    width = max(len(one.path) for one in PUBLISHED)
    pipe = None
    for one in PUBLISHED:
        if one.pipe != pipe:
            pipe = one.pipe
            print(f"{pipe}:" if pipe != "sam" else "a sam block:")
        terms = f"{one.licence}, gated" if one.access == GATED else one.licence
        print(f"  {one.path:{width}}  {one.millions:>6,g} M  {terms}")
    print(f"gated: {GATED}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from pytest_editeval.config import load_profile
    from pytest_editeval.errors import CheckpointError, EditEvalError
    from pytest_editeval.escapes import visible
    from pytest_editeval.scoring.locking import model_paths
    from pytest_editeval.vision.checkpoints import checkpoint_files, hub_revision, is_local, local_path

    confinement = confinement_of(args)
    wanted = [*args.paths, *model_paths(load_profile(path, confinement) for path in args.config)]
    if not wanted:
        raise EditEvalError("nothing to fetch: name ids on the hub, or --config FILE")
    failed = 0
    for path in dict.fromkeys(wanted):
        try:
            if is_local(path):
                print(visible(f"on disk: {local_path(path)}"))
                continue
            files = checkpoint_files(path)
            size = sum(file.stat().st_size for file in files) / (1 << 20)
            print(visible(f"fetched: {path} at {hub_revision(path)} ({len(files)} files, {size:,.1f} MiB)"), flush=True)
        except CheckpointError as error:
            failed += 1
            print("\n".join(map(visible, f"editeval: {error}".split("\n"))), file=sys.stderr)
    return CHECKS_FAILED if failed else 0


def _lock(args: argparse.Namespace) -> int:
    from pytest_editeval.config import load_profile
    from pytest_editeval.errors import EditEvalError, display_path
    from pytest_editeval.escapes import visible
    from pytest_editeval.lock_file import differences, read_lock, unused, write_lock
    from pytest_editeval.scoring.locking import lock_of

    if args.lock.is_dir() or not args.lock.parent.is_dir():
        raise EditEvalError(f"{args.option} {display_path(args.lock)}: that is a directory, or lies in none")
    known = read_lock(args.lock) if args.check else None
    confinement = confinement_of(args)
    found = lock_of([load_profile(path, confinement) for path in args.config or [None]], args.lock.parent)
    counts = f"{len(found)} checkpoints, {sum(len(one.files) for one in found.values())} files"
    if known is None:
        write_lock(args.lock, found)
        print(f"written: {display_path(args.lock)} ({counts})")
        return 0
    lines = [*differences(known, found), *unused(known, found)]
    for line in lines:
        print(visible(line))
    print(f"{display_path(args.lock)}: {len(lines)} differences in {counts}")
    return CHECKS_FAILED if lines else 0


def _info(args: argparse.Namespace) -> int:
    from pytest_editeval.escapes import visible
    from pytest_editeval.vision.description import describe

    found = describe(args.path, args.domain, args.architecture)
    if args.json:
        print(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
        return 0
    lines = found.lines()
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        print(visible(f"{label:{width}}  {value}"))
    return 0
