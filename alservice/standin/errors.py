"""Answers that end a request early: raised anywhere in a handler, they roll its transaction back."""

from __future__ import annotations

from alservice.standin.replies import API_TYPE, Reply, json_reply


class RefusalError(Exception):
    """A refusal, with the reply that says so in the words and the form of whoever refuses."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"status {reply.status}: {reply.body.decode(errors='replace')}")
        self.reply = reply


class UnknownCallError(Exception):
    """A call this stand-in does not model; it must never pass for an answer of Panoptes."""


def api_error(status: int, message: str) -> RefusalError:
    """Return a refusal in Panoptes' envelope, ``{"errors": [{"message": ..}]}``."""
    return RefusalError(json_reply(status, {"errors": [{"message": message}]}, content_type=API_TYPE))


def not_found(kind: str, identity: object) -> RefusalError:
    """Return the 404 for a row that is absent, or hidden from this user."""
    return api_error(404, f"Could not find {kind} with id='{identity}'")


def invalid(message: str) -> RefusalError:
    """Return the 400 of a model validation."""
    return api_error(400, f"Validation failed: {message}")


def not_linkable(relation: str) -> RefusalError:
    """Return the 422 for a link to something absent or not the user's."""
    return api_error(422, f"Couldn't find linked {relation} for current user")


def empty_refusal(status: int, reason: str | None = None) -> RefusalError:
    """Return a refusal without a body, as Doorkeeper answers: 401, 403 or 422.

    Parameters
    ----------
    status
        The HTTP status.
    reason
        Doorkeeper's error name, sent in ``WWW-Authenticate`` only.
    """
    challenge = f'Bearer realm="Doorkeeper", error="{reason}"'
    return RefusalError(Reply(status=status, headers={"WWW-Authenticate": challenge} if reason else {}))


def grant_refused(error: str, description: str | None = None) -> RefusalError:
    """Return a login or token refusal, ``{"error": .., "error_description": ..}`` with status 401."""
    described = {} if description is None else {"error_description": description}
    return RefusalError(json_reply(401, {"error": error, **described}))


def storage_refusal(status: int, code: str) -> RefusalError:
    """Return a refusal by the file storage, in its own XML."""
    page = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'
    return RefusalError(Reply(status=status, body=page.encode(), headers={"Content-Type": "application/xml"}))
