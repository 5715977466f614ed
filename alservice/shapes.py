"""Axis letters and array aliases; the only names for axes in this package.

======  ======================================================================
letter  axis
======  ======================================================================
N       galaxies, in the order of the ids beside the array
B       galaxies of one batch
T       posterior draws
Q       questions, in tree order
A       answers of the whole tree, in tree order; of one question where stated
V       vote counts 0..N of one question
C H W   channels, rows, columns of an image (px)
E       embedding dimensions
======  ======================================================================

A suffix on a variable names its axes where it helps: ``rho_NT`` is (N, T).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]
