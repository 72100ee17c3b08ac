"""How the documentation is built; ``scripts/test docs`` does it."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "saltext_repmgr"
# Nothing has to be installed: Salt puts its dunders in when it loads a module, not when
# Python imports it.
sys.path.insert(0, str(ROOT / "src"))

project = "saltext-repmgr"
author = copyright = "The saltext-repmgr authors"  # pylint: disable=redefined-builtin
METADATA = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
release = re.search(r'^version = "(.+)"', METADATA, re.MULTILINE)[1]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
add_module_names = False

html_theme = "furo"
html_title = f"saltext-repmgr {release}"
html_copy_source = False


def _every_module_has_a_page(app):
    """Fail where a module that Salt loads has no page in the reference."""
    del app
    missing = [
        f"docs/reference/{folder}/{path.stem}.rst"
        for folder in ("modules", "states", "runners", "output", "beacons")
        for path in sorted((PACKAGE / folder).glob("[!_]*.py"))
        if not (ROOT / "docs" / "reference" / folder / f"{path.stem}.rst").exists()
    ]
    if missing:
        raise FileNotFoundError(f"write a page: {', '.join(missing)}")


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", _every_module_has_a_page)
