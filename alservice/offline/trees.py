"""Question trees by name or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from alservice.errors import BadInput, BadTree
from alservice.files import read_regular
from alservice.science.tree import Tree, parse_tree, tree_names
from alservice.science.tree import load_tree as packaged_tree

_MAX_BYTES: Final = 1 << 20


def load_tree(tree: str | Path | Tree) -> Tree:
    """Return a question tree by its name, or from a file.

    Parameters
    ----------
    tree
        Name of a packaged tree, such as ``gz2``; path of a tree file (``.json``); or a tree, which is returned.

    Returns
    -------
    Tree
        Q questions with A answers in all; ``tree.columns`` names the answers as columns of votes do.

    Raises
    ------
    BadTree
        No packaged tree has the name (the message lists those that do), or the file does not hold a valid tree.
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
    if str(tree) in tree_names() or not str(tree).endswith(".json"):
        return packaged_tree(str(tree))
    path = Path(tree)
    try:
        document = json.loads(read_regular(path, max_bytes=_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadTree(f"{path}: is not JSON: {error}", path=str(path)) from error
    if not isinstance(document, dict):
        raise BadTree(f"{path}: is no JSON object", path=str(path))
    return parse_tree(document, source=path.name)
