"""How large the parts are, and how many files tell a story: measured on any checkout, so before and after compare.

``python -m tests.architecture.measure [--root PATH] [--stories]`` prints one column of Markdown. Sizes are read from the
sources; with ``--stories`` small jobs are run as a user runs them, in a folder of their own, and every file of the
package of which a function was executed is counted. Left out of a story, as plumbing, is what listing the cycles
executes too (the command line, opening the application and the database), what only orders steps (``flows``), the
stand-in with its sky and volunteers, and memory meters and logs. Importing a file does not count; calling into it does.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

TOPS = ("alservice", "flows")
OUTSIDE = ("standin", "rehearsal", "sky", "flows", "cli", "web")
"""Folders that no story counts: the world that is played, who orders steps, and the doors."""

PLUMBING = ("telemetry", "meters", "progress")
"""Modules that no story counts, by name in whatever folder."""

STORIES = {
    "scored and uploaded": ("predicting", "acquiring", "publishing"),
    "classification to tally": ("collecting",),
    "train to gate": ("training", "evaluating", "gated"),
}
"""Stories of a rehearsal, by the steps of the cycle that tell them."""

TRACER = """
import inspect, os, sys, threading

if any("alservice" in word or "multiprocessing" in word for word in sys.orig_argv) and "serve" not in sys.orig_argv:
    root = os.environ["MEASURED_ROOT"] + os.sep
    out = os.open(os.environ["MEASURED_OUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    step = ["-"]
    seen = set()

    def ended(frame, event, argument):
        if event == "return":
            step[0] = "-"
        return ended

    def called(frame, event, argument):
        code = frame.f_code
        name = code.co_filename
        if not name.startswith(root) or code.co_name == "<module>":
            return None
        ours = name[len(root):]
        is_step = code.co_name == "run_step" and ours.startswith("flows")
        if is_step:
            step[0] = str(frame.f_locals["state"])
            frame.f_trace_lines = False
        if code.co_flags & inspect.CO_OPTIMIZED and (step[0], code) not in seen:  # a function, no body of a class
            seen.add((step[0], code))
            os.write(out, f"{step[0]}\\t{ours}\\n".encode())
        return ended if is_step else None

    threading.settrace(called)
    sys.settrace(called)
"""


def modules(root: Path) -> list[Path]:
    """Return the Python files of the product."""
    return sorted(path for top in TOPS for path in (root / top).rglob("*.py"))


def bodies(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of each function's body, without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def name_of(root: Path, path: Path) -> str:
    """Return a file's name as a module."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def importers(root: Path, trees: Mapping[Path, ast.Module]) -> dict[str, set[str]]:
    """Return who imports each module."""
    names = {name_of(root, path): set[str]() for path in trees}
    for path, tree in trees.items():
        own = name_of(root, path)
        for node in ast.walk(tree):
            wanted = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                wanted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in wanted:
                if name in names and name != own:
                    names[name].add(own)
    return names


def spread(values: Sequence[int], *shares: int) -> str:
    """Return median, percentiles and maximum."""
    return "/".join(
        [f"{statistics.median(values):.0f}", *(f"{np.percentile(values, s):.0f}" for s in shares), str(max(values))]
    )


def sizes(root: Path) -> dict[str, str]:
    """Return the figures that the sources alone give."""
    files = modules(root)
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = [len(text.splitlines()) for text in texts.values()]
    folders = Counter(str(path.parent.relative_to(root)) for path in files)
    inits = Counter(str(path.parent.relative_to(root)) for path in files if path.name == "__init__.py")
    for folder, n in inits.items():
        folders[folder] -= n
    largest = ", ".join(f"{folder.removeprefix('alservice/')} {n}" for folder, n in folders.most_common(5))
    single = sum(len(who) == 1 for who in importers(root, trees).values())
    return {
        "files": str(len(files)),
        "lines in all": f"{sum(lines):,}",
        "lines of a module, median/p90/max": spread(lines, 90),
        "lines of a function's body, median/p90/p99/max": spread(
            [n for tree in trees.values() for n in bodies(tree)], 90, 99
        ),
        "files of a folder beside `__init__`, five largest": largest,
        "modules with one importer": str(single),
    }


def write_galaxies(path: Path, columns: Sequence[str], n: int = 40) -> Path:
    """Write a file of small images, and votes on the first question."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(n):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    table = {"galaxy_id": pa.array([f"J{i:04}" for i in range(n)]), "image": pa.array(images, pa.binary())}
    for place, column in enumerate(columns):
        table[column] = pa.array(rng.integers(10, 30, n) if place < 3 else np.zeros(n, dtype=np.int64))
    pq.write_table(pa.table(table), path)
    return path


def execute(root: Path, folder: Path, *arguments: str) -> dict[str, set[str]]:
    """Run the command line of a checkout under the tracer, and return the files executed, by step of a cycle."""
    (folder / "trace").mkdir(exist_ok=True)
    (folder / "trace" / "sitecustomize.py").write_text(TRACER, encoding="utf-8")
    out = folder / f"executed-{len(list(folder.iterdir()))}"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ALSERVICE_", "PREFECT_", "PANOPTES_"))}
    settings = {
        "PYTHONPATH": f"{folder / 'trace'}:{root}",
        "MEASURED_ROOT": str(root),
        "MEASURED_OUT": str(out),
        "ALSERVICE_WORKDIR": str(folder / "work"),
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "alservice.cli", *arguments],
        cwd=root,
        env=inherited | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"alservice {' '.join(arguments)} failed:\n{run.stdout[-2000:]}{run.stderr[-4000:]}")
    found: dict[str, set[str]] = {}
    for line in out.read_text(encoding="utf-8").splitlines():
        step, _, name = line.partition("\t")
        found.setdefault(step, set()).add(name)
    return found


SMALL = ("--px", "16", "--field", "1.0", "--steps", "4")


def everything(steps: Mapping[str, set[str]]) -> set[str]:
    """Return the files executed in any step, or in none."""
    return set().union(*steps.values())


def told(root: Path, folder: Path) -> tuple[dict[str, set[str]], set[str]]:
    """Run the small jobs, and return the files of each story and those of listing cycles."""
    cycles = execute(root, folder, "rehearse", "--galaxies", "60", "--cycles", "1", "--seed", "3", "--json")
    found = {story: set().union(*(cycles[step] for step in steps)) for story, steps in STORIES.items()}
    listing = everything(execute(root, folder, "cycle", "list", "--campaign", "rehearsal"))
    (tree,) = (root / "alservice").rglob("gz2.json")
    data = write_galaxies(folder / "galaxies.parquet", columns_of(tree))
    train = ("train", "--data", str(data), "--tree", "gz2", "--out", str(folder / "model"), "--batch", "4")
    found["train on files"] = everything(execute(root, folder, *train, "--threads", "1", "--device", "cpu", *SMALL))
    backfill = ("backfill", "--out", str(folder / "backfill"), "--galaxies", "260", "--rounds", "1", "--seeds", "1")
    backfill += ("--initial", "24", "--batch", "8", "--passes", "1", "--policies", "power_bald", "--workers", "1")
    found["backfill"] = everything(execute(root, folder, *backfill, "--test", "30", *SMALL))
    return found, listing


def stories(root: Path, *, keep: Path | None = None) -> dict[str, str]:
    """Return how many files each story executes, without plumbing, and in brackets with it."""
    with tempfile.TemporaryDirectory() as folder:
        found, listing = told(root, Path(folder))
    table = {}
    for story, files in found.items():
        own = sorted(file for file in files - listing if not is_plumbing(file))
        table[f"files executed: {story}"] = f"{len(own)} ({len(files)})"
        if keep is not None:
            keep.mkdir(exist_ok=True)
            (keep / f"{story}.txt").write_text("\n".join(own) + "\n", encoding="utf-8")
            (keep / f"{story}, all.txt").write_text("\n".join(sorted(files)) + "\n", encoding="utf-8")
    return table


def columns_of(tree: Path) -> list[str]:
    """Return the answer columns of a packaged tree."""
    questions = json.loads(tree.read_text(encoding="utf-8"))["questions"]
    return [f"{q['name']}_{answer['name']}" for q in questions for answer in q["answers"]]


def is_plumbing(file: str) -> bool:
    """Tell whether a file is no part of any story."""
    path = Path(file)
    return not {*OUTSIDE}.isdisjoint(path.parts) or path.stem in PLUMBING


def main() -> None:
    """Print the table of one checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="checkout to measure")
    parser.add_argument("--stories", action="store_true", help="run the stories as well: some minutes")
    parser.add_argument("--keep", type=Path, help="folder for the lists of files of each story")
    options = parser.parse_args()
    root = options.root.resolve()
    table = sizes(root) | (stories(root, keep=options.keep) if options.stories else {})
    for name, value in table.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
