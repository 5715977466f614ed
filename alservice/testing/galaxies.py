"""Galaxies of the synthetic sky as a DataFrame: images, positions and votes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alservice.campaigns.trees import load_tree
from alservice.errors import BadInput
from alservice.science.tree import Tree
from alservice.science.votes import walked_counts
from alservice.sky.galaxies import SMALLEST_PX, synthetic_sky


def synthetic_galaxies(
    n: int, *, tree: str | Tree = "gz2", seed: int = 0, volunteers: int = 40, size_px: int = SMALLEST_PX
) -> pd.DataFrame:
    """Return galaxies with images and votes, as `alservice.train` takes them.

    Parameters
    ----------
    n
        Galaxies, at least 1.
    tree
        Question tree whose answers the synthetic sky knows.
    seed
        Of galaxies and volunteers; the same seed gives the same galaxies.
    volunteers
        How many look at each galaxy.
    size_px
        Side of the images (px), at least 32.

    Returns
    -------
    DataFrame
        (n, 4 + A): ``galaxy_id``, ``ra`` and ``dec`` (deg, ICRS), ``image`` (JPEG bytes), and the votes of each answer.

    Raises
    ------
    BadInput
        There are fewer than one galaxy or volunteer, or images are too small.
    BadTree
        The tree is unknown, or asks what the synthetic sky cannot answer.

    Examples
    --------
    >>> from alservice.testing import synthetic_galaxies
    >>> synthetic_galaxies(3).shape
    (3, 41)
    """
    if min(n, volunteers) < 1:
        raise BadInput(f"{n} galaxies and {volunteers} volunteers: there must be one at least")
    known = load_tree(tree)
    sky = list(synthetic_sky(known, n=n, seed=seed, size_px=size_px))
    ids = [galaxy.galaxy_id for galaxy in sky]
    shares = np.stack([galaxy.probabilities for galaxy in sky])
    counts = walked_counts(known, shares, ids, volunteers=volunteers, seed=seed)
    galaxies = pd.DataFrame(
        {
            "galaxy_id": ids,
            "ra": [galaxy.ra_deg for galaxy in sky],
            "dec": [galaxy.dec_deg for galaxy in sky],
            "image": [galaxy.image for galaxy in sky],
        }
    )
    return pd.concat([galaxies, pd.DataFrame(counts, columns=list(known.columns))], axis=1)
