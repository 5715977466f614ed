"""Question trees of anybody's: by the name of a packaged one, or from a file of YAML or JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from alservice.campaigns.files import NotYaml, read_text, yaml_of
from alservice.errors import BadInput, BadTree, Conflict
from alservice.science.tree import YES_NO, Tree, is_packaged, parse_tree, tree_document, tree_names
from alservice.science.tree import load_tree as packaged_tree

SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_QUESTIONS: Final = 100
MAX_ANSWERS: Final = 500
"""Bounds of a tree from a file: ten times of the largest that was ever asked."""


def load_tree(tree: str | Path | Tree, *, folder: Path | None = None) -> Tree:
    """Return a question tree by its name, or from a file.

    Parameters
    ----------
    tree
        Name of a packaged tree, such as ``gz2``; path of a tree file (``.yaml``, ``.yml``, ``.json``); or a tree, which
        is returned.
    folder
        What a relative path is relative to; the current folder if None.

    Returns
    -------
    Tree
        Q questions with A answers in all; ``tree.columns`` names the answers as columns of votes do.

    Raises
    ------
    BadTree
        No packaged tree has the name (the message lists those that do), or the file does not hold a valid tree, or one
        that differs from the packaged tree whose name it has.
    BadInput
        The file cannot be read.

    Examples
    --------
    >>> import alservice
    >>> tree = alservice.load_tree("gz2")
    >>> tree.n_questions, tree.n_answers
    (11, 37)
    >>> tree.columns[:3]
    ('smooth-or-featured_smooth', 'smooth-or-featured_featured-or-disk', 'smooth-or-featured_artifact')
    """
    if isinstance(tree, Tree):
        return tree
    if str(tree) in tree_names():
        return packaged_tree(str(tree))
    if not str(tree).lower().endswith(SUFFIXES):
        known = ", ".join(tree_names())
        text = f"unknown tree {str(tree)[:100]!r}; known trees: {known}; a file of one ends in {', '.join(SUFFIXES)}"
        raise BadTree(text, tree=str(tree)[:100])
    return read_tree(Path(tree) if folder is None else folder / tree)


def tree_yaml(tree: Tree, *, notes: Iterable[str] = ()) -> str:
    """Return a tree as the text of a file that `load_tree` reads; the notes go into it."""
    document = tree_document(tree) | {"notes": list(notes)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def save_tree(tree: Tree, path: Path, *, notes: Iterable[str] = ()) -> None:
    """Write a tree to a file that is not there yet.

    Raises
    ------
    Conflict
        The file is there.
    BadInput
        Its name is not that of a tree file of YAML, or it cannot be written.
    """
    if path.suffix.lower() not in {".yaml", ".yml"}:
        raise BadInput(f"{path}: a tree is written as .yaml", path=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(tree_yaml(tree, notes=notes))
    except FileExistsError as error:
        raise Conflict(f"{path} is there already: name another file, or move it away", path=str(path)) from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}", path=str(path)) from error


def slug(text: str, *, longest: int = 40) -> str:
    """Return a text as a name of a question or answer, cut between words; empty if no letter of it can be one."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain.replace("'", ""))
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word[:longest]
        if len(longer) > longest:
            break
        name = longer
    return name


def read_tree(path: Path) -> Tree:
    """Return the tree of a file, whatever its name ends in; raises what `load_tree` does."""
    document = _document(path, read_text(path))
    if not isinstance(document, dict):
        raise BadTree(f"{path}: a tree is a mapping with a name and questions", path=str(path))
    _check_size(path, document)
    tree = parse_tree(_filled(document, path), source=str(path))
    if tree.name in tree_names() and not is_packaged(tree):
        raise BadTree(
            f"{path}: {tree.name!r} is the name of a packaged tree, and this one differs from it: give it another name",
            path=str(path),
            tree=tree.name,
        )
    return tree


def _document(path: Path, text: str) -> Any:
    try:
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_once)
        return yaml_of(text, _TreeLoader)
    except (NotYaml, json.JSONDecodeError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "YAML"
        raise BadTree(f"{path}: is not {kind}: {error}", path=str(path)) from error
    except BadInput as error:
        raise BadTree(f"{path}: {error.message}", path=str(path)) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping; `BadInput` for a field that is there twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadInput(f"the field {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


class _TreeLoader(yaml.SafeLoader):
    """Safe YAML in which an answer may be called yes, no or 2: only true, false and null are other than text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _once([(str(getattr(name, "value", name)), None) for name, _ in node.value])
        return super().construct_mapping(node, deep)


_TreeLoader.yaml_implicit_resolvers = {}
_TreeLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_TreeLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])


def _check_size(path: Path, document: Mapping[str, Any]) -> None:
    """Refuse what would take long to check: the numbers of questions and answers are told apart from their content."""
    questions = document.get("questions")
    if not isinstance(questions, list):
        return
    lists = [q["answers"] for q in questions if isinstance(q, dict) and isinstance(q.get("answers"), list)]
    sizes = (("questions", len(questions), MAX_QUESTIONS), ("answers", sum(map(len, lists)), MAX_ANSWERS))
    for what, found, most in sizes:
        if found > most:
            raise BadTree(f"{path}: a tree has at most {most} {what}, not {found:,}", path=str(path))


def _filled(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return a document with what a file may leave out."""
    filled = {"source": path.name, "notes": [], **document}
    if isinstance(filled.get("questions"), list):
        filled["questions"] = [_filled_question(q, place) for place, q in enumerate(filled["questions"])]
    return filled


def _filled_question(question: Any, place: int) -> Any:
    if not isinstance(question, dict):
        return question
    boxed = {"answers": ["Yes", "No"]} if question.get("choice") is not None else {}
    filled = {"parents": [], "task": f"T{place}", **boxed, **question}
    if isinstance(filled.get("answers"), list):
        filled["answers"] = [_filled_answer(answer) for answer in filled["answers"]]
        names = [answer.get("name") for answer in filled["answers"] if isinstance(answer, dict)]
        filled.setdefault("task_answers", list(YES_NO) if boxed and "answers" not in question else names)
    return filled


def _filled_answer(answer: Any) -> Any:
    """Return an answer that is given by what volunteers read with a name made of it."""
    return {"name": slug(answer) or answer, "label": answer} if isinstance(answer, str) else answer
