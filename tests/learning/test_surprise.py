"""The explanation of surprise: planted causes are found, and nothing is where nothing was."""

from dataclasses import replace

import numpy as np
import pytest

from alservice.errors import BadInput
from alservice.learning.bias import BiasReport, explain, render_bias
from alservice.science.bootstrap import Estimate
from alservice.science.evaluation import Slice

pytest.importorskip("interpret")


def planted(n, effect, seed=0):
    """Return properties of galaxies, and a surprise that grows with the size alone."""
    rng = np.random.default_rng(seed)
    properties = {"size <px>": rng.uniform(2, 20, n), "brightness": rng.uniform(0, 50, n)}
    return properties, 0.15 + effect * (properties["size <px>"] > 11) + rng.normal(0, 0.02, n)


def test_a_planted_cause_is_found() -> None:
    """The property that makes the surprise comes first, with its step, and explains most of it."""
    properties, surprise = planted(400, 0.1)
    properties["brightness"][:3] = np.nan
    found = explain(properties, surprise, seed=3)
    assert found.n_galaxies == 397
    assert found.terms[0].name == "size <px>"
    assert found.terms[0].importance > 5 * found.terms[1].importance
    assert found.explained > 0.7
    assert found.mean == pytest.approx(surprise[3:].mean())
    steps = dict(zip(found.terms[0].edges, found.terms[0].contribution, strict=False))
    small = [v for edge, v in steps.items() if edge < 9]
    large = [v for edge, v in steps.items() if edge > 13]
    assert np.mean(large) - np.mean(small) == pytest.approx(0.1, abs=0.03)
    assert explain(properties, surprise, seed=3) == found


def test_no_cause_is_no_finding() -> None:
    """Noise is not explained on galaxies that were held out."""
    assert explain(*planted(400, 0.0), seed=3).explained < 0.1


def test_too_few_galaxies_are_refused() -> None:
    """Curves through a handful of points would be believed."""
    with pytest.raises(BadInput, match="50 are needed"):
        explain(*planted(49, 0.1), seed=3)


def test_the_report_is_one_safe_file() -> None:
    """Every term and slice is in it, names are escaped, nothing is fetched."""
    part = Slice(
        name="size <px>",
        low=2.0,
        high=6.0,
        n_galaxies=100,
        n_votes=4000,
        nll_per_vote=Estimate(value=0.2, low=0.1, high=0.3),
        rmse=None,
    )
    found = explain(*planted(100, 0.1), seed=3)
    report = BiasReport(campaign="<gz>", cycle=3, model="abc", explanation=found, slices=(part,))
    html = render_bias(report)
    assert html.count("<svg") == 2
    assert "&lt;gz&gt;" in html
    assert "<px>" not in html
    assert "http" not in html
    nothing = replace(report, explanation=replace(found, explained=-0.1))
    assert "explain nothing" in render_bias(nothing)
