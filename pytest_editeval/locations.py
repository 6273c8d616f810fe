"""Where an image is: a path, a URL that fsspec reads, or what is derived from such a one."""

from __future__ import annotations

import os
import re
import stat as modes
import warnings
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from pytest_editeval.derived import Bands, Derived
from pytest_editeval.errors import ImageError, display_path, unknown

Stored = Path | str
"""A file; a `str` is always a URL."""

Location = Stored | Derived

REASON_LENGTH = 200
MESSAGE_LENGTH = 4000  # of a message that is looked at: a backend may pass on a whole page
PACKAGES = ("s3fs", "gcsfs", "aiohttp")  # modules that are installed under their own name

_REMOTE = frozenset(
    ["http", "https", "s3", "s3a", "gs", "gcs", "hf", "abfs", "abfss", "az", "adl", "oci", "oss", "tos", "memory"]
)
_WRAPPERS = frozenset(["zip", "tar", "simplecache", "filecache", "blockcache"])
"""What opens the next link of a chain."""

_KINDS = (
    (modes.S_ISDIR, "a directory"),
    (modes.S_ISFIFO, "a FIFO"),
    (modes.S_ISCHR, "a device"),
    (modes.S_ISBLK, "a device"),
    (modes.S_ISSOCK, "a socket"),
)

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://")  # one letter is a drive of Windows
_LINK = re.compile(r"::(?=[a-z][a-z0-9+.-]*://)")  # fsspec reads `zip://a.png::https://host/all.zip`
# The second form is a password that should have been percent-encoded: no port, and no IPv6 address.
_USER = re.compile(r"[^/?#]*@|[^/?#:\[]*:(?!\d*(?:[/?#]|$)).*@", re.DOTALL)
_URL_IN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_QUERY_IN_TEXT = re.compile(r"([?&][^\s=&'\"]+)=[^\s&'\"]+")
_HIDDEN = "…"
_SHORTEST_SECRET = 4  # shorter ones are in every message by chance


def is_url(text: str) -> bool:
    """Whether `locate` takes the text for a URL."""
    return _SCHEME.match(text) is not None


def locate(text: str, directory: Path) -> Stored:
    """A URL as it is written; anything else is a path, relative to `directory`."""
    return text if is_url(text) else directory / text


def display(location: Location) -> str:
    """`location` as a user would write it, without a URL's user, password and values of the query."""
    if isinstance(location, Derived):
        name = display(location.base)
        return name if isinstance(location.recipe, Bands) else f"{location.recipe} {name}"
    if isinstance(location, Path):
        return display_path(location)
    return "::".join(_public(url) for url in _LINK.split(location))


def stamp(location: Location) -> tuple[int, ...] | None:
    """Numbers that change when a local file does; `None` for a URL, and for what is not there.

    A derived image changes with its base, and with what its scale is taken from.
    """
    if isinstance(location, Derived):
        places = [location.base]
        if isinstance(location.recipe, Bands) and location.recipe.reference is not None:
            places.append(location.recipe.reference)
        stamps = [stamp(place) for place in places]
        return None if None in stamps else tuple(number for one in stamps for number in one or ())
    if isinstance(location, str):
        return None
    try:
        found = location.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_bytes(location: Stored, limit: int | None = None) -> bytes:
    """The whole file; an `ImageError` when it cannot be read, or has more than `limit` bytes."""
    try:
        data = _read_url(location, limit) if isinstance(location, str) else _read_path(location, limit, location)
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"image not found: {display(location)}") from None
    except Exception as error:  # each backend has its own
        raise _cannot_read(location, _reason(error, location)) from None
    if limit is not None and len(data) > limit:
        raise _too_long(location, limit)
    return data


def local_parts(url: str) -> list[Path] | None:
    """The local files that a URL, which may be a chain, has fsspec open; `None` where it would open no known thing.

    Protocols that are neither known to be remote nor to open what follows in the chain may lead anywhere.
    """
    *wrappers, last = url.split("::")
    if any(_scheme(link) not in _WRAPPERS for link in wrappers):
        return None
    if _scheme(last) in _REMOTE:
        return []
    if _scheme(last) not in ("", "file", "local"):
        return None
    from fsspec.implementations.local import LocalFileSystem

    return [Path(LocalFileSystem._strip_protocol(last))]


def _scheme(link: str) -> str:
    """Of a link of a chain; empty for a path. fsspec takes letters alone for a scheme."""
    scheme, separator, _ = link.partition("://")
    return scheme if separator or re.fullmatch("[a-z]+", link) else ""


def _read_path(path: Path, limit: int | None, location: Stored) -> bytes:
    _check_kind(location, path.stat().st_mode)  # before it is opened, because opening alone may do something
    # Non-blocking, because by now there may be a FIFO in its place.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check_kind(location, found.st_mode)
        if limit is None:
            return file.read()
        if found.st_size > limit:
            raise _too_long(location, limit)
        return file.read(limit + 1)


def _check_kind(location: Stored, mode: int) -> None:
    if not modes.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")
        raise _cannot_read(location, f"it is {kind}, not a regular file")


def _read_url(url: str, limit: int | None) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning of a backend must not fail somebody's `-W error` run
        import fsspec

        for path in local_parts(url) or ():
            if "::" not in url:
                return _read_path(path, limit, url)
            _check_kind(url, path.stat().st_mode)
        scheme = url.partition("://")[0]
        try:
            fsspec.get_filesystem_class(scheme)
            system, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise _cannot_read(url, _missing_package(error, scheme)) from None
        except ValueError as error:
            if "Protocol not known" not in str(error):
                raise
            raise _cannot_read(url, unknown("protocol", scheme, fsspec.available_protocols())) from None
        if limit is not None:
            size = None
            with suppress(Exception):  # the read says better what is wrong
                size = system.size(path)
            if size is not None and size > limit:
                raise _too_long(url, limit)
            if size is None:
                return bytes(system.cat_file(path, end=limit + 1))
        return bytes(system.cat_file(path))


def _too_long(location: Stored, limit: int) -> ImageError:
    return _cannot_read(location, f"it has more than {limit} bytes")


def _cannot_read(location: Stored, reason: str) -> ImageError:
    return ImageError(f"cannot read image {display(location)}: {reason}")


def _missing_package(error: ImportError, scheme: str) -> str:
    cause = error.__cause__
    if isinstance(cause, ModuleNotFoundError) and cause.name in PACKAGES:
        return f"{scheme}:// needs {cause.name}: pip install {cause.name}"
    return _line(f"{error} ({cause})" if cause else str(error))


def _reason(error: Exception, location: Stored) -> str:
    """What an exception says, in one line and without what `display` leaves out."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return error.strerror  # the file is named already
    line = _line(str(error), _secrets(location) if isinstance(location, str) else ())
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _line(text: str, secrets: tuple[str, ...] = ()) -> str:
    line = next((line.strip() for line in text[:MESSAGE_LENGTH].splitlines() if line.strip()), "")
    for secret in secrets:
        line = line.replace(secret, _HIDDEN)
    line = _URL_IN_TEXT.sub(lambda url: display(url[0]), line)
    line = _QUERY_IN_TEXT.sub(rf"\1={_HIDDEN}", line)
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 1]}{_HIDDEN}"


def _parts(url: str) -> tuple[str, str, str, str]:
    """`scheme://`, user and password, place, and the query with its question mark."""
    scheme, separator, rest = url.partition("://")
    user = found[0] if (found := _USER.match(rest)) else ""
    place, mark, query = rest[len(user) :].partition("?")
    return scheme + separator, user, place, mark + query


def _public(url: str) -> str:
    scheme, _, place, query = _parts(url)
    shown = (f"{key}={_HIDDEN}" if equals else _HIDDEN for key, equals, _ in _pairs(query))
    return scheme + place + query[:1] + "&".join(shown)


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query[1:].split("&")] if query[1:] else []


def _secrets(url: str) -> tuple[str, ...]:
    """What `display` leaves out of a URL, longest first."""
    found: set[str] = set()
    for link in _LINK.split(url):
        _, user, _, query = _parts(link)
        found.update(user.removesuffix("@").split(":", 1))
        found.update(value if equals else key for key, equals, value in _pairs(query))
    found |= {unquote(secret) for secret in found}
    return tuple(sorted((secret for secret in found if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True))
