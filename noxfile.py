"""The supported range: the test suite against the lowest and the newest versions of every direct dependency.

`nox` runs all sessions, `nox -s lowest` one; what follows `--` goes to pytest. uv resolves the lowest versions, which
pip cannot. The last figures are in docs/reliability.md.
"""

from __future__ import annotations

import nox

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The lower bounds of pyproject.toml, on the lowest Python."""
    _test(session, "--resolution", "lowest-direct")


@nox.session(python=["3.11", "3.12", "3.13"])
def newest(session: nox.Session) -> None:
    """Whatever is newest today, on every Python that is at hand."""
    _test(session, "--upgrade")


def _test(session: nox.Session, *resolution: str) -> None:
    # Compiled at once: an old release may warn of its own source while it is compiled, and warnings are errors here.
    session.install("--compile-bytecode", *resolution, "--editable", ".[dev]")
    session.run("python", "-m", "pytest", "-n", "2", "tests/", *session.posargs)
