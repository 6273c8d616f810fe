"""How the page's addresses name a case and a check."""

from __future__ import annotations

from urllib.parse import quote

from pytest_editeval.escapes import visible
from pytest_editeval.results import CheckResult

SUFFIX = ".edit.yaml"


def anchor(result: CheckResult) -> str:
    """The part of the page's address, from the ``#`` on, that opens a check."""
    return f"#case={quote(case_key(result), safe='/~')}&check={quote(visible(result.metric))}"


def case_key(result: CheckResult) -> str:
    """A case of a candidate: ``cases/portrait/red_scarf~v2``; a file that ends in ``.yml`` keeps that, as another."""
    file = result.node_id.split("::")[0]
    candidate = f"~{result.candidate}" if result.candidate else ""
    return visible(f"{file.removesuffix(SUFFIX)}/{result.case}{candidate}")
