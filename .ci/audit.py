"""`pip-audit`, which must not be silent where it cannot tell: prints what was audited and what was not.

Exit status 1 with a known vulnerability, else 0; where the data cannot be reached a line says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any


def main() -> int:
    """Audit the packages of this environment."""
    if find_spec("pip_audit") is None:
        sys.exit("pip-audit is not installed: pip install -e '.[dev]'")
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--skip-editable"]
    run = subprocess.run(command, capture_output=True, text=True)
    try:
        report = json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        print(f"pip-audit: no data reachable, skipped: {last}")
        return 0
    lines, status = judged(report)
    print("\n".join(lines))
    return status


def judged(report: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to print of pip-audit's report, and the exit status; a package with a `skip_reason` was not looked up."""
    audited = [one for one in report if "skip_reason" not in one]
    left_out = sorted(one["name"] for one in report if "skip_reason" in one)
    found = [(one, known) for one in audited for known in one["vulns"]]
    lines = [
        f"{one['name']} {one['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no version'}"
        for one, known in found
    ]
    if not audited:
        lines.append(f"pip-audit: no data reachable, skipped: {len(left_out)} packages not audited")
    else:
        lines.append(f"pip-audit: {len(found)} vulnerabilities in {len(audited)} packages")
        if left_out:
            lines.append(f"not audited: {len(left_out)}: {', '.join(left_out)}")
    return lines, int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
