"""The report of a campaign as one HTML file that needs nothing else: styles, plots and images are inside."""

from __future__ import annotations

import base64
from importlib import resources

from jinja2 import Environment, select_autoescape

from alservice.cycle import plots
from alservice.cycle.report_core import GalleryItem, ReportData
from alservice.science.tree_information import score_note


def render_report(data: ReportData) -> str:
    """Return the report as HTML; every text from outside is escaped."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_url"] = _data_url
    source = resources.files("alservice.cycle").joinpath("templates", "report.html").read_text(encoding="utf-8")
    head, rows = data.table.rows()
    return environment.from_string(source).render(
        data=data,
        head=head,
        rows=rows,
        figures=list(plots.figures(data)),
        note=score_note(data.n_draws),
    )


def _data_url(item: GalleryItem) -> str:
    return f"data:{item.media_type};base64,{base64.b64encode(item.image).decode()}"
