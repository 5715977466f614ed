"""A campaign in memory: its builders, its example, and what it refuses."""

import doctest

import pytest

from alservice import testing
from alservice.errors import BadInput, NotFound
from alservice.testing import MemoryApp, MemoryCampaigns, memory, memory_campaign


def test_the_example_runs() -> None:
    """What the docstring shows is what happens."""
    (example,) = doctest.DocTestFinder(recurse=False).find(memory.MemoryApp, globs={})
    said: list[str] = []
    assert doctest.DocTestRunner().run(example, out=said.append).failed == 0, "".join(said)


def test_the_names_are_there() -> None:
    """Every name is loaded when it is asked for."""
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'FakeApp'"):
        _ = testing.FakeApp


@pytest.mark.parametrize("seed", range(3))
def test_withdrawn_galaxies_are_never_drawn(seed: int) -> None:
    """The galaxy that is drawn first is drawn no more once it is withdrawn."""
    best = MemoryApp().catalogue(48).posterior(seed=seed).acquire()[0].galaxies[0].galaxy_id
    batch, _ = MemoryApp().catalogue(48).posterior(seed=seed).subject(best, state="withdrawn").acquire()
    assert best not in {galaxy.galaxy_id for galaxy in batch.galaxies}
    assert batch.excluded == {"withdrawn": 1}


def test_without_a_posterior_the_first_batch_is_random() -> None:
    """There is no champion before a posterior; the draw is recorded once."""
    app = MemoryApp().catalogue(48)
    assert app.cycle.champion_id is None
    batch, votes = app.acquire()
    assert {galaxy.arm for galaxy in batch.galaxies} <= {"random", "evaluation"}
    assert votes == dict.fromkeys((galaxy.galaxy_id for galaxy in batch.galaxies), 20)
    assert app.acquire() == (batch, votes)


def test_what_is_not_there_is_refused() -> None:
    """No catalogue, no galaxy of the name, no campaign."""
    with pytest.raises(BadInput, match=r"call catalogue\(n\) first"):
        MemoryApp().posterior(seed=0)
    with pytest.raises(BadInput, match="no galaxy 'g99'"):
        MemoryApp().catalogue(3).subject("g99", state="live")
    with pytest.raises(NotFound, match="no campaign 'gz'"):
        MemoryCampaigns().get("gz")


def test_campaigns_have_versions() -> None:
    """The same decisions keep their version, others make a new one."""
    campaigns = MemoryCampaigns()
    first = campaigns.save(memory_campaign())
    assert campaigns.save(memory_campaign()) == first
    second = campaigns.save(memory_campaign(votes_per_galaxy=5))
    assert (second.id, second.version) == (first.id, 2)
    assert campaigns.get("test") == second
