"""Settings that are amounts: bytes, images, seconds."""

from __future__ import annotations

import re

from pytest_editeval.errors import EditEvalError


def parse_size(name: str, text: str) -> int:
    """Bytes of ``500MB`` or ``2GB``; `EditEvalError` says what is allowed."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB)", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise EditEvalError(f"{name} is a size such as 500MB or 2GB, not {text!r}")
    return int(float(found[1]) * (1e9 if found[2].upper() == "GB" else 1e6))


def parse_batch_size(text: str) -> int | None:
    """A number of images, or `None` for auto."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise EditEvalError(f"editeval_batch_size is auto or a number of images from 1, not {text!r}")
    return int(text)


def parse_seconds(name: str, text: str) -> float | None:
    """Seconds, `None` for 0, which is no limit; `EditEvalError` says what is allowed."""
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text.strip(), re.ASCII):
        raise EditEvalError(f"{name} is a number of seconds, such as 300 or 0.5, or 0 for no limit, not {text!r}")
    return float(text) or None
