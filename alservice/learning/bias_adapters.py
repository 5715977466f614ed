"""The bias report as one HTML file that needs nothing else."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, select_autoescape

from alservice.learning.bias_core import BiasReport, BiasTerm
from alservice.storage.plot_style import ACCENT, PALE, canvas, svg


def render_bias(report: BiasReport) -> str:
    """Return the report as HTML; every text from outside is escaped."""
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True, lstrip_blocks=True)
    source = resources.files("alservice.learning").joinpath("templates", "bias.html").read_text(encoding="utf-8")
    curves = [(term, _curve(term)) for term in report.explanation.terms]
    return environment.from_string(source).render(report=report, curves=curves)


def _curve(term: BiasTerm) -> str:
    figure, axes = canvas()
    edges = list(term.edges)
    axes.stairs(term.high, edges, baseline=term.low, fill=True, color=PALE, alpha=0.5, label="interval of the fits")
    axes.stairs(term.contribution, edges, baseline=None, color=ACCENT, label="contribution")
    axes.axhline(0, color=PALE, linewidth=0.8)
    axes.set_xlabel(term.name)
    axes.set_ylabel("added surprise [nats per vote]")
    return svg(figure)
