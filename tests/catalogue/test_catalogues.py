"""How large a share of a catalogue is held out for good."""

from alservice.catalogue.galaxies import EVALUATION_MEMBERS, evaluation_fraction, is_evaluation_member
from alservice.ids import stable_fraction


def test_a_large_catalogue_keeps_the_smallest_hashes():
    """Exactly 1,500 ids are members, those whose hashes are smallest."""
    ids = [str(i) for i in range(4000)]
    share = evaluation_fraction(ids, seed=0, otherwise=0.2)
    members = {i for i in ids if is_evaluation_member(i, unbiased=True, seed=0, fraction=share)}
    assert members == set(sorted(ids, key=lambda i: stable_fraction(0, i))[:EVALUATION_MEMBERS])


def test_a_small_catalogue_keeps_the_usual_share():
    """Up to 1,500 unbiased galaxies, or without a mark of them, the share is the one given."""
    assert evaluation_fraction([], seed=0, otherwise=0.2) == 0.2
    assert evaluation_fraction([str(i) for i in range(EVALUATION_MEMBERS)], seed=0, otherwise=0.2) == 0.2
