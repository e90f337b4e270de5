"""What Sphinx is told. Its sources are written by `python -m decodeloop.course.site`."""

from __future__ import annotations

project = "decodeloop"
author = project_copyright = "the decodeloop authors"
html_title = "decodeloop"
language = "en"
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "decodeloop.course.site.formulas",
]
exclude_patterns = ["lab"]  # to download, no pages

# Notebooks are shown as they are stored.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_html_meta = {
    "description": "LLM inference from scratch, on your laptop's CPU: attention, KV cache, "
    "sampling, batching, scheduling, quantization and speculative decoding, built and measured.",
}
suppress_warnings = [
    "mystnb.unknown_mime_type",
    "misc.highlighting_failure",  # a lesson may leave something out: "…"
]

# Docstrings write `x` for code, and their shapes stand in their texts.
default_role = "code"
autodoc_typehints = "none"
autodoc_preserve_defaults = True

# Formulas are set when the site is built; CSS and fonts of the same KaTeX lie beside the pages.
html_math_renderer = "katex"

html_theme = "pydata_sphinx_theme"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["katex/katex.min.css", "course.css"]
html_js_files = [("pieces.js", {"defer": "defer"})]
html_domain_indices = False  # rooms have a table of their own
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
single = ("index", "see", "paths", "cheat-sheet", "glossary", "genindex", "search")
html_sidebars = {page: [] for page in single}  # they have no pages below them
html_theme_options = {
    "show_prev_next": True,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
copybutton_selector = (
    "div.cell_input div.highlight pre, div.highlight-bash pre, div.highlight-python pre, "
    "div.highlight-powershell pre"
)
