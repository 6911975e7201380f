"""Sphinx builds the docs: ``make docs``."""

project = "numflow_django"
author = "The numflow_django developers"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Trees of folders, which Sphinx would take for Python
highlight_language = "none"
html_theme = "furo"
html_title = "numflow_django"
exclude_patterns = ["_build"]
