"""Trees of anybody's: read from files, kept with a campaign, and refused by name where they are none."""

import json
from pathlib import Path

import pytest
import yaml

from alservice.campaigns.campaign import Campaign, load_campaign_file, parse_campaign
from alservice.campaigns.trees import load_tree, read_tree, slug, tree_yaml
from alservice.documents import document_of
from alservice.errors import AlserviceError, BadConfig, BadInput, BadTree
from alservice.network.architectures import NetworkConfig
from alservice.network.files import ModelCard
from alservice.science.tree import Tree, is_packaged, tree_document, tree_names
from alservice.science.tree import load_tree as packaged_tree

SHORT = """
name: own-rings
questions:
  - {name: has-ring, text: "Is there a ring?", answers: [yes, no, Can't tell]}
  - name: how-many
    text: How many?
    parents: [has-ring_yes]
    answers: [{name: 1, label: One}, {name: 2, label: Two or more}]
  - {name: odd-star, text: "Anything else?", task: T5, parents: [has-ring_yes], choice: A star}
  - {name: odd-trail, text: "Anything else?", task: T5, parents: [has-ring_yes], choice: A trail}
"""


def written(path: Path, text: str | bytes) -> Path:
    """Return the path of a file with this content."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_short_file_is_a_whole_tree(tmp_path: Path) -> None:
    """What can be left out is filled in; yes, no and 1 are names, whatever YAML makes of them."""
    tree = read_tree(written(tmp_path / "own.yaml", SHORT))
    assert tree.columns[:5] == ("has-ring_yes", "has-ring_no", "has-ring_cant-tell", "how-many_1", "how-many_2")
    assert [question.task for question in tree.questions] == ["T0", "T1", "T5", "T5"]
    assert tree.question("has-ring").labels == ("yes", "no", "Can't tell")
    assert tree.question("odd-trail").answers == ("yes", "no")
    assert tree.parents_of[2:] == ((0,), (0,))


@pytest.mark.parametrize("name", tree_names())
def test_a_tree_is_written_and_read_back(name: str, tmp_path: Path) -> None:
    """As YAML and as JSON, to the last label; the packaged tree under its own name is itself."""
    tree = packaged_tree(name)
    assert read_tree(written(tmp_path / "t.yaml", tree_yaml(tree))) == tree
    assert load_tree(written(tmp_path / "t.JSON", json.dumps(tree_document(tree)))) == tree
    assert load_tree(name) is load_tree(tree) is tree


def changed(**change: object) -> str:
    """Return the short tree with other fields of its first question."""
    document = yaml.load(SHORT, Loader=yaml.BaseLoader)
    document["questions"][0] |= change
    return yaml.safe_dump(document)


TWICE = '  - {name: has-ring, text: "Again?", answers: [a, b]}\n'
BOMB = "a: &a [x]\nb: [*a, *a]\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(parents=["how-many_1"]), r"cyclic: .*has-ring -> how-many -> has-ring|cyclic: how-many -> has-ring"),
        (SHORT + TWICE, "question 'has-ring' is given twice"),
        (changed(parents=["spiral_yes"]), "'has-ring' is orphaned: there is no answer 'spiral_yes'"),
        (changed(answers=["yes"]), "'has-ring' needs at least two answers"),
        (changed(colour="red"), r"unknown fields \['colour'\]"),
        (changed(choice="Ring"), "'has-ring' is a box to tick: its answers are yes and no"),
        (SHORT.replace("T5, parents: [has-ring_yes], choice: A trail", "T5, choice: A trail"), "the same parents"),
        (SHORT.replace("A trail", "a star"), "choice 'a star of task T5' is given twice"),
        (SHORT.replace("T5, parents: [has-ring_yes], choice: A trail", "T6, parents: [odd-star_yes], answers: [a, b]"),
         "asked after 'odd-star_yes', a box"),
        (SHORT.replace("own-rings", "gz2"), "'gz2' is the name of a packaged tree"),
        (SHORT + "name: again\n", "the field 'name' is given twice"),
        (BOMB, "it has an alias"),
        ("[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("- 1\n", "a tree is a mapping"),
        ("name: [", "is not YAML"),
        (SHORT.encode("utf-16"), "is not UTF-8 text"),
        ("name: \xe9".encode("latin-1"), "is not UTF-8 text: byte 6 is 0xe9"),
        ("name: x\nquestions:\n" + "  - {}\n" * 101, "at most 100 questions, not 101"),
        ("name: x\nquestions:\n  - {answers: [" + "a, " * 501 + "]}\n", "at most 500 answers, not 501"),
        (b"#" * (1 << 20) + b"##", "is longer than 1,048,576 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_tree_is_named(content: str | bytes, said: str, tmp_path: Path) -> None:
    """Kind: a file that is believed, or ends in a stack of calls."""
    path = written(tmp_path / "own.yaml", content)
    with pytest.raises(BadInput, match=said) as caught:
        load_tree(path)
    assert "own.yaml" in caught.value.message


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent.yaml", "No such file"), ("gz3", "unknown tree 'gz3'; known trees: gz-candels"), ("own.txt", "ends in")],
)
def test_what_is_not_there_is_named(name: str, said: str, tmp_path: Path) -> None:
    """A name that is neither packaged nor a file lists what is."""
    with pytest.raises(BadInput, match=said):
        load_tree(name, folder=tmp_path)


def test_a_device_is_no_tree(tmp_path: Path) -> None:
    """Kind: a path that never ends."""
    (tmp_path / "own.yaml").symlink_to("/dev/zero")
    with pytest.raises(BadInput, match="is a device"):
        load_tree(tmp_path / "own.yaml")


def test_json_has_each_field_once(tmp_path: Path) -> None:
    """Of two fields of one name one would be lost."""
    with pytest.raises(BadTree, match="the field 'name' is given twice"):
        load_tree(written(tmp_path / "own.json", '{"name": "a", "name": "b"}'))


def test_long_chains_are_checked_at_once(tmp_path: Path) -> None:
    """Each of a hundred questions after both answers of the one before: two to the hundredth ways, none walked twice.

    Kind: a tree that nobody waits for.
    """
    from alservice.zooniverse.workflow import tasks_of

    questions = [
        {
            "name": f"q{n}",
            "text": "?",
            "answers": ["yes", "no"],
            "parents": [f"q{n - 1}_yes", f"q{n - 1}_no"] if n else [],
        }
        for n in range(100)
    ]
    tree = read_tree(written(tmp_path / "t.json", json.dumps({"name": "chain", "questions": questions})))
    assert tree.n_answers == 200
    everyone = Tree(name="flat", questions=tuple(_free(question) for question in tree.questions))
    assert len(tasks_of(everyone)) == 100


def _free(question):
    from dataclasses import replace

    return replace(question, parents=())


def campaign_of(folder: Path) -> Campaign:
    """Return a campaign of a file beside its tree's."""
    (folder / "trees").mkdir()
    written(folder / "trees" / "own.yaml", SHORT)
    text = "name: own\ntree: trees/own.yaml\nevaluation: {answer: has-ring_yes}\n"
    return load_campaign_file(written(folder / "campaign.yaml", text))


def test_a_campaign_has_the_whole_tree(tmp_path: Path) -> None:
    """Relative to the campaign's file; the document holds all of it, and a change of a label is another version."""
    campaign = campaign_of(tmp_path)
    (tmp_path / "trees" / "own.yaml").unlink()
    assert (campaign.tree_name, packaged_tree(campaign.tree).n_answers) == ("own-rings", 9)
    again = parse_campaign(json.loads(json.dumps(document_of(campaign))), source="row")
    assert (again, again.digest) == (campaign, campaign.digest)
    document = document_of(campaign)
    document["tree"]["questions"][0]["labels"][0] = "Sure"
    other = parse_campaign(document, source="row")
    assert (other.tree.hash, other.digest == campaign.digest) == (campaign.tree.hash, False)


def test_a_campaign_names_answers_of_its_own_tree(tmp_path: Path) -> None:
    """An answer that the file's tree lacks is refused; a tree is not written into the campaign's file."""
    written(tmp_path / "own.yaml", SHORT)
    with pytest.raises(BadConfig, match=r"evaluation\.answer: tree own-rings has no answer smooth-or-featured_smooth"):
        load_campaign_file(written(tmp_path / "c.yaml", "name: own\ntree: own.yaml\n"))
    with pytest.raises(BadConfig, match="write the tree to a file of its own"):
        load_campaign_file(written(tmp_path / "c.yaml", "name: own\ntree: {name: x}\n"))
    with pytest.raises(AlserviceError, match=r"absent\.yaml"):
        load_campaign_file(written(tmp_path / "c.yaml", "name: own\ntree: absent.yaml\n"))


def test_a_model_carries_a_tree_that_is_not_packaged() -> None:
    """Its card has the questions; that of a packaged tree has its name."""
    own = Tree(name="own", questions=packaged_tree("gz-rings").questions)
    assert (is_packaged(own), is_packaged(packaged_tree("gz-rings"))) == (False, True)
    for tree in (own, packaged_tree("gz-rings")):
        card = ModelCard(
            network=NetworkConfig(name="small"),
            training={},
            tree=tree.name,
            tree_hash=tree.hash,
            data_digest="",
            n_galaxies=0,
            n_votes=0,
            seed=0,
            code_revision="",
            history=(),
            questions=None if is_packaged(tree) else tree.questions,
        )
        assert ModelCard.from_document(json.loads(json.dumps(card.document()))).own_tree == tree


@pytest.mark.parametrize(
    ("text", "name"),
    [("Is the galaxy smooth?", "is-the-galaxy-smooth"), ("Can't tell", "cant-tell"), ("Évident", "evident"), ("輪", ""),
     ("a" * 50, "a" * 40), ("Is the galaxy simply smooth and rounded, with no disk", "is-the-galaxy-simply-smooth-and-rounded")],
)  # fmt: skip
def test_names_are_made_of_what_people_read(text: str, name: str) -> None:
    """Cut between words; nothing where no letter can be used."""
    assert slug(text) == name
