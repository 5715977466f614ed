"""The stand-in as a program: what it says is what a stranger can use."""

import re
from pathlib import Path

import pytest

from alservice.errors import BadConfig
from alservice.standin.folder import serve_standin
from alservice.standin.server import Standin
from tests.standin.support import Api, Remote, user_token

SETTINGS = {
    "host": "127.0.0.1",
    "port": 0,
    "live_project": False,
    "project_id": 1,
    "workflow_id": 10,
    "subject_limit": 10_000,
    "settle_s": 0.0,
}


def test_the_login_it_says_owns_the_project_and_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed address and password are enough to log in and write; the next start has nothing to invent."""
    said: list[str] = []

    def use(_: Standin) -> None:
        login, password = re.fullmatch(r"login (\S+) password (\S+)", said[0]).groups()
        endpoint = re.fullmatch(r"serving project 1, workflow 10 at (\S+)", said[1]).group(1)
        remote = Remote(endpoint=endpoint)
        assert Api(remote, user_token(remote, login, password)).new_set() == "1001"

    monkeypatch.setattr(Standin, "wait", use)
    serve_standin(tmp_path / "state", users=[], say=said.append, **SETTINGS)
    monkeypatch.setattr(Standin, "wait", lambda _: None)
    serve_standin(tmp_path / "state", users=[], say=said.append, **SETTINGS)
    assert [line.split()[0] for line in said] == ["login", "serving", "serving"]


def test_a_login_is_said_only_where_it_is_kept(tmp_path: Path) -> None:
    """A folder that cannot be used gets no credentials, and the message names it."""
    (tmp_path / "file").touch()
    said: list[str] = []
    with pytest.raises(BadConfig, match=str(tmp_path / "file")):
        serve_standin(tmp_path / "file", users=[], say=said.append, **SETTINGS)
    assert said == []


def test_a_given_user_may_have_colons_in_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NAME ends at the first colon, and one that has no password is refused."""
    said: list[str] = []

    def use(_: Standin) -> None:
        assert user_token(Remote(endpoint=said[0].split()[-1]), "owner", "pass:word")

    monkeypatch.setattr(Standin, "wait", use)
    serve_standin(tmp_path, users=["owner:pass:word"], say=said.append, **SETTINGS)
    for wrong in ("owner", "owner:", ":word"):
        with pytest.raises(BadConfig, match="NAME:PASSWORD"):
            serve_standin(tmp_path, users=[wrong], say=said.append, **SETTINGS)


def test_an_account_may_upload_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small allowance can be rehearsed."""
    said: list[str] = []

    def use(_: Standin) -> None:
        remote = Remote(endpoint=said[0].split()[-1])
        api = Api(remote, user_token(remote, "owner", "secret"))
        api.new_subject()
        refused = api.post("/subjects", {"subjects": {"locations": ["image/png"], "links": {"project": "1"}}})
        assert refused.status_code == 403
        assert "User has uploaded 1 subjects of 1 maximum" in refused.text

    monkeypatch.setattr(Standin, "wait", use)
    serve_standin(tmp_path, users=["owner:secret"], say=said.append, **{**SETTINGS, "subject_limit": 1})
