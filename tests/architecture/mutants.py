"""Faults of one line each in the maths and the rules, and whether the fast tests of their modules find them.

``python -m tests.architecture.mutants`` copies the sources, puts one fault in at a time, runs the tests named beside it
and writes ``mutants.md``. ``--only NAME`` tries the faults whose file has that in its path, and writes nothing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.md")
LIMIT_S = 600
SETTLED = """from hypothesis import settings

settings.register_profile("settled", deadline=None, derandomize=True, database=None)
settings.load_profile("settled")
"""
"""In the place of tests/conftest.py: the same examples each time, and no fixtures of services."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    path
        Module, below ``alservice``.
    before, after
        Text that occurs once in it, and what it becomes.
    tests
        Files of tests that should find it, below ``tests``.
    """

    path: str
    before: str
    after: str
    tests: tuple[str, ...]

    def source(self, root: Path) -> str:
        """Return the module's text with the fault; ValueError unless the text is there once."""
        text = (root / "alservice" / self.path).read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise ValueError(f"{self.path} has {text.count(self.before)} times {self.before!r}")
        return text.replace(self.before, self.after)


def _of(path: str, *tests: str, faults: dict[str, str]) -> list[Mutant]:
    return [Mutant(path=path, before=before, after=after, tests=tests) for before, after in faults.items()]


MUTANTS = (
    *_of(
        "science/batches.py",
        "science/test_batches.py",
        faults={
            "np.eye(own.shape[1]) + own.T": "np.eye(own.shape[1]) - own.T",
        },
    ),
    *_of(
        "science/bootstrap.py",
        "science/test_bootstrap.py",
        faults={
            "tail = (1 - confidence) / 2": "tail = 1 - confidence",
        },
    ),
    *_of(
        "science/calibration.py",
        "science/test_calibration.py",
        "science/test_confident.py",
        faults={
            "np.arange(pmf.shape[1]) >= k[:, None]": "np.arange(pmf.shape[1]) > k[:, None]",
            "distance < w[:, None]": "distance <= w[:, None]",
            "observed.max(axis=1, initial=0) > threshold": "observed.max(axis=1, initial=0) >= threshold",
        },
    ),
    *_of(
        "science/disagreement.py",
        "science/test_disagreement.py",
        faults={
            "level / 3 + math.sqrt": "level / 3 - math.sqrt",
        },
    ),
    *_of(
        "science/evaluation.py",
        "science/test_evaluation.py",
        "science/test_slices.py",
        "science/test_scorecard.py",
        faults={
            "judged = votes >= max(min_votes, 1)": "judged = votes > max(min_votes, 1)",
            "(values >= low) if i == 0": "(values > low) if i == 0",
        },
    ),
    *_of(
        "science/fusion.py",
        "science/test_fusion.py",
        faults={"np.sqrt(np.maximum(variance, 0))": "np.maximum(variance, 0)"},
    ),
    *_of(
        "science/components.py",
        "science/test_components.py",
        faults={
            "- np.outer(mean, mean)": "+ np.outer(mean, mean)",
            "vectors[:, ::-1].T[:at_most]": "vectors.T[:at_most]",
            "values = values - self._origin": "values = values + self._origin",
        },
    ),
    *_of(
        "science/plane.py",
        "science/test_plane.py",
        faults={
            "(low + high) / 2 - side / 2": "(low + high) / 2 - side",
            "(self.x + 1) * side, self.y * side": "(self.x + 1) * side, self.x * side",
            "[first:last] ^= x": "[first:last] |= x",
        },
    ),
    *_of(
        "science/healpix.py",
        "science/test_healpix.py",
        faults={
            "n_side * 0.75 * z": "n_side * 0.7 * z",
        },
    ),
    *_of(
        "science/image_properties.py",
        "science/test_image_properties.py",
        faults={
            "- (side - 1) / 2": "- side / 2",
            "light > _SIGMAS * noise": "light > _SIGMAS - noise",
        },
    ),
    *_of(
        "science/information.py",
        "science/test_information.py",
        "science/test_joint_information.py",
        faults={
            "exact = states <= max_states": "exact = states < max_states",
            "u * (total + step)": "u * total",
            "chance *= next_vote": "chance += next_vote",
            "np.sqrt(asked * again)": "np.sqrt(asked + again)",
        },
    ),
    *_of(
        "science/experts.py",
        "science/test_experts.py",
        faults={
            "p * (1 - p)": "p",
            "np.maximum(probabilities, 1 - probabilities) >= CONFIDENT": "probabilities >= CONFIDENT",
            "np.flatnonzero(np.diff(scores[order]))": "np.arange(len(scores) - 1)",
        },
    ),
    *_of(
        "science/regression.py",
        "science/test_regression.py",
        faults={"** 2 * beta / (1 - leverage)": "** 2 * beta"},
    ),
    *_of(
        "science/interest.py",
        "science/test_interest.py",
        faults={
            "gain = np.asarray(mean, dtype=np.float64) - best - trade_off": "gain = np.asarray(mean) - best + trade_off",
            "self._left = self._left - column**2": "self._left = self._left - column",
        },
    ),
    *_of(
        "science/laplace.py",
        "science/test_laplace.py",
        faults={
            "/ math.sqrt(self.prior.temper)": "/ self.prior.temper",
        },
    ),
    *_of(
        "science/pmf.py",
        "science/test_pmf.py",
        "science/test_beta_mixture.py",
        faults={
            "range(0, n_rows, step)": "range(0, n_rows, step + 1)",
            "- padded[:, :-3] - padded[:, 3:]": "- padded[:, :-3] + padded[:, 3:]",
        },
    ),
    *_of(
        "science/posterior.py",
        "science/test_posterior.py",
        "science/test_predictions.py",
        faults={
            ".argsort(axis=1).argsort(axis=1)": ".argsort(axis=1)",
            "counts > MOST_VOTES": "counts >= MOST_VOTES",
            "explained / (within + between)": "explained / within",
        },
    ),
    *_of(
        "science/prediction.py",
        "science/test_prediction.py",
        faults={
            "self.recipe.votes == votes and": "self.recipe.votes == votes or",
        },
    ),
    *_of(
        "science/reweighting.py",
        "science/test_reweighting.py",
        "science/test_survey_weights.py",
        faults={
            "self.value - Z * np.sqrt": "self.value - Z / np.sqrt",
            "self.value + Z * np.sqrt": "self.value + Z / np.sqrt",
            "np.cumsum(losses) - losses": "np.cumsum(losses)",
            "_BINS - 1), _BINS)": "_BINS), _BINS)",
        },
    ),
    *_of(
        "science/scorecard.py",
        "science/test_scorecard.py",
        faults={
            "[{figure.low:.{digits}f}, {figure.high:.{digits}f}]": "[{figure.high:.{digits}f}, {figure.low:.{digits}f}]",
            "widths = [max(": "widths = [min(",
        },
    ),
    *_of(
        "science/stopping.py",
        "science/test_stopping.py",
        faults={"figures >= policy.target if": "figures <= policy.target if"},
    ),
    *_of(
        "science/stretch.py",
        "science/test_stretch.py",
        faults={
            "bands = bands if stretch.red_first else bands[::-1]": "bands = bands[::-1] if stretch.red_first else bands",
            "/ (x * np.arcsinh(stretch.softening))": "/ np.arcsinh(stretch.softening)",
            "levels /= np.maximum(levels.max(axis=0), 1.0)": "levels = np.minimum(levels, 1.0)",
        },
    ),
    *_of(
        "science/tree.py",
        "science/test_tree.py",
        "science/test_question.py",
        faults={
            "sorted(question.parents)": "list(question.parents)",
            "np.where(parent_asked == 0, 0,": "np.where(parent_asked == 1, 0,",
        },
    ),
    *_of(
        "science/votes.py",
        "science/test_votes.py",
        faults={
            "any(a >= b for": "any(a > b for",
            "asked[..., index] > usable": "asked[..., index] >= usable",
        },
    ),
    *_of(
        "votes/classification.py",
        "votes/test_classification.py",
        "votes/test_counting.py",
        faults={
            "sorted(rows, key=lambda r: r.raw.classification_id)": "list(rows)",
            "if verdict is Verdict.COUNTED:": "if verdict is not Verdict.INCOMPLETE:",
        },
    ),
    *_of(
        "votes/counting.py",
        "votes/test_counting.py",
        faults={
            "ordered[0].raw.classification_id <= last_id": "ordered[0].raw.classification_id < last_id",
            "seen += key": "seen = key",
        },
    ),
    *_of(
        "learning/gate.py",
        "learning/test_gate.py",
        faults={
            "not_inferior = nll.high < figure.margin": "not_inferior = nll.high <= figure.margin",
            "if nll.low > figure.margin or": "if nll.low >= figure.margin or",
            "if covered < _MIN_COVERED": "if covered <= _MIN_COVERED",
        },
    ),
    *_of(
        "backfill/savings.py",
        "backfill/test_savings.py",
        "backfill/test_vote_floor.py",
        faults={
            "min(theirs[-1], ours[-1])": "max(theirs[-1], ours[-1])",
            "by_seed[:, 1:].mean(axis=1)": "by_seed[:, :-1].mean(axis=1)",
        },
    ),
    *_of(
        "learning/drift.py",
        "learning/test_drift.py",
        faults={
            "max(policy.max_ks, chance)": "min(policy.max_ks, chance)",
            "alarm=not 1 / limit <= factor <= limit": "alarm=not 1 / limit <= factor < limit",
        },
    ),
)


def copy_of(folder: Path) -> Path:
    """Copy what the tests need of the repository, and return where."""
    for name in ("alservice", "flows", "tests", "migrations"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests" / "conftest.py").write_text(SETTLED, encoding="utf-8")
    return folder


def run(tests: Iterable[str], copy: Path) -> subprocess.CompletedProcess[str]:
    """Run tests in the copy up to the first that fails, without the plugins that they can do without."""
    shared = os.environ.get("ALSERVICE_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "ALSERVICE_SHARED_DATA": shared}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "pytest_timeout", *(f"tests/{name}" for name in tests)],
        cwd=copy,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def first_failure(mutant: Mutant, copy: Path) -> str:
    """Run a mutant's tests in the copy, and return the first that fails; empty when all pass."""
    module = copy / "alservice" / mutant.path
    whole = module.read_text(encoding="utf-8")
    module.write_text(mutant.source(ROOT), encoding="utf-8")
    try:
        done = run(mutant.tests, copy)
    except subprocess.TimeoutExpired:
        return f"no end within {LIMIT_S} s"
    finally:
        module.write_text(whole, encoding="utf-8")
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"the tests of {mutant.path} did not run:\n{done.stdout}{done.stderr}")
    found = re.search(r"^FAILED tests/(\S+)", done.stdout, re.MULTILINE)
    return found[1].partition("[")[0] if found else ""


def table(results: list[tuple[Mutant, str]]) -> str:
    """Return the results as Markdown."""
    killed = sum(bool(test) for _, test in results)
    command, day = "python -m tests.architecture.mutants", f"{datetime.now(UTC):%Y-%m-%d}"
    found = f"{killed} of {len(results)} are found by the fast tests of the module they are in: `{command}`, {day}."
    lines = [
        "# Faults of one line",
        "",
        f"{found} The list is in `mutants.py`.",
        "",
        "| module | was | becomes | found by |",
        "|---|---|---|---|",
    ]
    for mutant, test in results:
        before, after = (text.replace("|", "\\|") for text in (mutant.before, mutant.after))
        lines.append(f"| `{mutant.path}` | `{before}` | `{after}` | {f'`{test}`' if test else '**survives**'} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Try the mutants; 0 when all were found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="try those whose module's path has this in it")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant.path]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(Path(folder))
        whole = run(sorted({test for mutant in chosen for test in mutant.tests}), copy)
        if whole.returncode:
            raise RuntimeError(f"without a fault the tests must pass:\n{whole.stdout}{whole.stderr}")
        for mutant in chosen:
            results.append((mutant, first_failure(mutant, copy)))
            print(f"{mutant.path}: {mutant.before} -> {mutant.after}: {results[-1][1] or 'SURVIVES'}", flush=True)
    if not only:
        TABLE.write_text(table(results), encoding="utf-8")
    survived = sum(not test for _, test in results)
    print(f"{len(results) - survived} of {len(results)} are found")
    return int(survived > 0)


if __name__ == "__main__":
    raise SystemExit(main())
