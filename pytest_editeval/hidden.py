"""Texts that an environment variable gave, and what is shown in their place."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

SHORTEST = 4  # shorter ones are in every message by chance

_shown: dict[str, str] = {}


def hide(text: str, shown: str) -> None:
    """From now on the process shows `shown`, such as ``${env:NAME}``, where it would show `text`, also as a path."""
    expanded = os.path.expanduser(text)  # noqa: PTH111
    forms = {text, expanded, os.path.normpath(expanded), os.path.abspath(expanded), os.path.realpath(expanded)}  # noqa: PTH100
    forms |= {os.path.relpath(expanded)} if os.path.isabs(expanded) else set()  # noqa: PTH117
    forms.add(text.replace("/", "--"))  # a hub id in the cache
    if not _shown:
        _hide_in_logs()
    _shown.update({form: shown for form in forms if len(form) >= SHORTEST and form.strip("./") != ""})


def _hide_in_logs() -> None:
    """Other libraries log the paths and ids that they are given, and pytest puts what is logged into every report."""
    factory = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = factory(*args, **kwargs)
        try:
            text = made.getMessage()
        except Exception:  # a mistake of who logged it, which logging itself reports
            return made
        if (public := without_hidden(text)) != text:
            made.msg, made.args = public, ()
        return made

    logging.setLogRecordFactory(record)


def without_hidden(text: str) -> str:
    """The text with what is hidden replaced, longest first, where it is not a part of a word."""
    for secret in sorted((secret for secret in _shown if secret in text), key=len, reverse=True):
        shown = _shown[secret].replace("\\", r"\\")
        text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", shown, text)
    return text
