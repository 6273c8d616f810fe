"""`editeval models drift`: what settings of the models do to the scores of a suite."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pytest_editeval.commands.edits import add_suite, read_suite
from pytest_editeval.statuses import CHECKS_FAILED


def add(actions: Any) -> None:
    """Declare the action."""
    drift = actions.add_parser("drift", help="measure how much dtypes and other settings move every score")
    add_suite(drift)
    drift.add_argument(
        "--choice",
        metavar="KEY=VALUE[,KEY=VALUE]",
        action="append",
        default=[],
        help="settings of a pipe to hold against float32 (repeatable; default: all that make models smaller or faster)",
    )
    drift.add_argument("--json", action="store_true", help="print a JSON object, with every score")
    drift.set_defaults(run=_drift)


def _drift(args: argparse.Namespace) -> int:
    from pytest_editeval.commands.choices import read_choices, with_choice
    from pytest_editeval.commands.drifted import measure
    from pytest_editeval.commands.edits import edited_checks
    from pytest_editeval.errors import EditEvalError
    from pytest_editeval.gating.drift import drift
    from pytest_editeval.reports.drift import Tried, as_data, choice_lines, suite_lines, trade_lines
    from pytest_editeval.reports.layout import Screen

    choices = read_choices(args.choice)
    profile, suite, confinement = read_suite(args)
    if suite.mistakes:
        print("\n".join(map(str, suite.mistakes)), file=sys.stderr if args.json else sys.stdout)
        return CHECKS_FAILED
    screen = Screen.of_stream(sys.stdout)

    def say(lines: list[str]) -> None:
        if not args.json:
            print("\n".join([*lines, ""]), flush=True)  # a choice may take long

    checks = list(edited_checks(suite.checks, args, confinement, controls=True))
    plain = measure(with_choice(profile, None), args.device, checks)
    say(suite_lines(profile.name, plain, screen))
    if not any(row.has_score for row in plain.rows):
        raise EditEvalError(f"no score could be measured: {len(suite.checks)} checks in the case files")
    tried: list[Tried] = []
    for choice in choices:
        device = args.device if choice.settings.get("device") is None else "auto"  # which would win over the choice's
        measured = measure(with_choice(profile, choice), device, checks)
        one = Tried(choice.label, choice.settings, drift(plain.rows, measured.rows), measured.seconds, measured.weights)
        tried.append(one)
        say(choice_lines(one, screen))
    if args.json:
        print(json.dumps(as_data(profile.name, plain, tried), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(trade_lines(plain, tried, screen)))
    return 0 if any(one.problem is None for one in tried) else CHECKS_FAILED
