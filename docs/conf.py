"""The site of these pages: `make docs` builds it without a network, and every warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import inspect

from pytest_editeval import __version__

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))

project = "pytest-editeval"
author = "the authors of pytest-editeval"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # as the repository's pages have formulas
myst_heading_anchors = 4  # links to headings as GitHub has them
suppress_warnings = ["misc.highlighting_failure"]  # excerpts with "..." are no whole JSON or YAML files

smartquotes = False  # `--option` is no dash

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
highlight_language = "text"
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}

default_role = "code"  # docstrings have single backticks round code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
add_module_names = False
maximum_signature_line_length = 80

autodoc_type_aliases = {
    name: name for name in ("ImageLike", "PatchMask", "Boxes", "Box", "Color", "Pixels", "Location")
}

nitpicky = True
nitpick_ignore_regex = [
    # Types of other projects and of the standard library, whose pages are not asked: the build needs no network.
    ("py:.*", r"(numpy|np|pandas|pd|torch|nn|PIL|Image|NDArray|pathlib|os|collections|typing|enum)(\..*)?"),
]


def _without_ways_out(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to files outside `docs`, which readers of the repository follow, become their text: the site lacks them."""
    folder = (DOCS / docname).parent

    def inside(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        return link[0] if target.is_relative_to(DOCS) or not target.exists() else link[1]

    source[0] = re.sub(r"\[([^\]]+)\]\(([^)#:]+)[^)]*\)", inside, source[0])


def setup(app: Sphinx) -> None:
    """Read the pages as they are meant for the site."""
    app.connect("source-read", _without_ways_out)
    # Sphinx prints an alias inside of another type as the call that made it.
    inspect.TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # type: ignore[method-assign]
