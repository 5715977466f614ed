"""Login, tokens and rights: Devise sessions and Doorkeeper grants as Panoptes wires them.

Passwords are kept as scrypt digests, session and bearer tokens as SHA-256 digests. A bearer token that is
unknown, revoked or expired identifies nobody, also on routes that check no scope.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import timedelta
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from alservice.errors import BadConfig
from alservice.standin.config import ALL_SCOPES, PUBLIC_CLIENT_ID, StandinConfig, parse_stamp, stamp
from alservice.standin.errors import empty_refusal, grant_refused
from alservice.standin.replies import Reply, json_reply
from alservice.standin.state import Row, Transaction
from alservice.standin.wire import Call, Request, Viewer

SESSION_COOKIE = "_Panoptes_session"
_SCRYPT = {"n": 2**10, "r": 8, "p": 1}
"""Cheap on purpose, 1 MiB and milliseconds: the state is local, and a rehearsal logs in many volunteers."""

_INVALID_GRANT = "The provided authorization grant is invalid, expired, revoked, or was issued to another client."


def hash_password(password: str) -> str:
    """Return a salted scrypt digest of `password`."""
    salt = secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def password_matches(password: str, stored: str) -> bool:
    """Return whether `password` has the digest `stored`."""
    salt, digest = (base64.b64decode(part) for part in stored.split("$"))
    return hmac.compare_digest(hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT), digest)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def install(tx: Transaction, config: StandinConfig) -> None:
    """Write the users and applications of `config` into the state; those already there stay.

    Raises
    ------
    BadConfig
        When nobody is named and the state knows nobody.
    """
    if not config.users and tx.one("SELECT 1 FROM users") is None:
        raise BadConfig(f"the stand-in state {config.state} knows no user yet; name one")
    for login, password in config.users:
        known = tx.one("SELECT * FROM users WHERE login = ?", login)
        if known is None:
            tx.insert_dated("users", login=login, password=hash_password(password))
        elif not password_matches(password, known["password"]):
            tx.update("users", known["id"], password=hash_password(password))
    statement = "INSERT OR REPLACE INTO applications (uid, secret, owner_id, grants, scopes) VALUES (?, ?, ?, ?, ?)"
    tx.run(statement, PUBLIC_CLIENT_ID, None, None, "password refresh_token", ALL_SCOPES)
    if config.client_id is not None and config.client_secret is not None:
        owner = tx.value("SELECT min(id) FROM users")
        digest = _digest(config.client_secret)
        tx.run(statement, config.client_id, digest, owner, "client_credentials", config.client_scopes)


def identify(tx: Transaction, request: Request) -> Viewer:
    """Return who sent `request`, by bearer token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not token or scheme.lower() != "bearer":
        return Viewer()
    found = tx.one("SELECT * FROM access_tokens WHERE token = ?", _digest(token))
    if found is None or found["revoked_at"] is not None or found["expires_at"] <= tx.stamp:
        return Viewer(token_sent=True)
    if found["previous_refresh_token"] is not None:
        _retire_predecessor(tx, found)
    return Viewer(
        user_id=found["user_id"],
        token_sent=True,
        token_is_valid=True,
        scopes=frozenset(found["scopes"].split()),
    )


def _retire_predecessor(tx: Transaction, token: Row) -> None:
    """Revoke the token that `token` replaced: Doorkeeper does so on the first use of the new one."""
    tx.run(
        "UPDATE access_tokens SET revoked_at = ? WHERE refresh_token = ? AND revoked_at IS NULL",
        tx.stamp,
        token["previous_refresh_token"],
    )
    tx.update("access_tokens", token["id"], previous_refresh_token=None)


def _session(call: Call) -> Row | None:
    cookie = SimpleCookie(call.request.headers.get("Cookie", ""))
    if SESSION_COOKIE not in cookie:
        return None
    return call.tx.one("SELECT * FROM sessions WHERE token = ?", _digest(cookie[SESSION_COOKIE].value))


def _start_session(call: Call, user_id: int | None) -> dict[str, str]:
    """Open a session and return the headers that hand it to the client."""
    number = int(call.tx.value("SELECT coalesce(max(id), 0) + 1 FROM sessions"))
    token = call.tx.derive("session", number)
    call.tx.insert("sessions", token=_digest(token), user_id=user_id, created_at=call.tx.stamp)
    return {"Set-Cookie": f"{SESSION_COOKIE}={token}; path=/; HttpOnly; SameSite=Lax"}


def sign_in_form(call: Call) -> Reply:
    """Answer GET /users/sign_in: a session and a CSRF token in headers."""
    headers = {} if _session(call) is not None else _start_session(call, None)
    csrf = call.tx.derive("csrf", call.tx.stamp, call.request.headers.get("Cookie", ""))
    answer = json_reply(200, {})
    return Reply(
        status=200,
        body=answer.body,
        headers={**answer.headers, **headers, "X-CSRF-Param": "authenticity_token", "X-CSRF-Token": csrf},
    )


def sign_in(call: Call) -> Reply:
    """Answer POST /users/sign_in: a session that the token call recognises.

    Raises
    ------
    RefusalError
        For a wrong login or password.
    """
    given = call.document().get("user")
    given = given if isinstance(given, dict) else {}
    user = call.tx.one("SELECT * FROM users WHERE login = ?", str(given.get("login", "")))
    if user is None or not password_matches(str(given.get("password", "")), user["password"]):
        raise grant_refused("Invalid email or password.")
    headers = _start_session(call, user["id"])
    entry = {
        "id": str(user["id"]),
        "login": user["login"],
        "display_name": user["login"],
        "href": f"/users/{user['id']}",
    }
    answer = json_reply(200, {"users": [entry]})
    return Reply(status=200, body=answer.body, headers={**answer.headers, **headers})


def issue_token(call: Call) -> Reply:
    """Answer POST /oauth/token for the three grants the client uses.

    Raises
    ------
    RefusalError
        422 without a body for an unknown application, a grant it may not use, or scopes beyond its own; 401
        for bad credentials, no login, or a refresh token that is spent.
    """
    form = {name: values[0] for name, values in parse_qs(call.request.body.decode("utf-8", "replace")).items()}
    application = call.tx.one("SELECT * FROM applications WHERE uid = ?", form.get("client_id", ""))
    grant = form.get("grant_type", "")
    if application is None or grant not in application["grants"].split():
        raise empty_refusal(422)
    if grant == "refresh_token":
        return _refresh(call, application, form.get("refresh_token", ""))
    scopes = form.get("scope", application["scopes"])
    if not set(scopes.split()) <= set(application["scopes"].split()):
        raise empty_refusal(422)
    if grant == "client_credentials":
        if not hmac.compare_digest(_digest(form.get("client_secret", "")), application["secret"]):
            raise grant_refused("invalid_client", "Client authentication failed.")
        return _grant(call, application, application["owner_id"], scopes, refreshable=False)
    session = _session(call)
    if session is None or session["user_id"] is None:
        raise grant_refused("invalid_grant", _INVALID_GRANT)
    return _grant(call, application, session["user_id"], scopes, refreshable=True)


def _refresh(call: Call, application: Row, refresh_token: str) -> Reply:
    old = call.tx.one("SELECT * FROM access_tokens WHERE refresh_token = ?", _digest(refresh_token))
    if old is None or old["revoked_at"] is not None:
        raise grant_refused("invalid_grant", _INVALID_GRANT)
    return _grant(call, application, old["user_id"], old["scopes"], refreshable=True, previous=old["refresh_token"])


def _grant(
    call: Call, application: Row, user_id: int, scopes: str, *, refreshable: bool, previous: str | None = None
) -> Reply:
    tx, lifetime = call.tx, call.config.token_lifetime_s
    number = int(tx.value("SELECT coalesce(max(id), 0) + 1 FROM access_tokens"))
    token, refresh_token = tx.derive("access", number), tx.derive("refresh", number)
    tx.insert(
        "access_tokens",
        token=_digest(token),
        refresh_token=_digest(refresh_token) if refreshable else None,
        previous_refresh_token=previous,
        application=application["uid"],
        user_id=user_id,
        scopes=scopes,
        expires_at=stamp(tx.now + timedelta(seconds=lifetime)),
        created_at=tx.stamp,
    )
    answer = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": scopes,
        "created_at": int(parse_stamp(tx.stamp).timestamp()),
    }
    if refreshable:
        answer["refresh_token"] = refresh_token
    return json_reply(200, answer)


def check_scope(viewer: Viewer, scope: str) -> None:
    """Check a scope as Doorkeeper does: whatever is wrong, the body of the refusal is empty.

    Raises
    ------
    RefusalError
        401 without a valid token, 403 when the token lacks `scope`.
    """
    if not viewer.token_is_valid:
        raise empty_refusal(401, "invalid_token")
    if scope not in viewer.scopes:
        raise empty_refusal(403, "insufficient_scope")
