"""Typed errors: what failed, whether a retry can help, and the evidence.

Every error is `Retriable` (the same call may succeed later) or `Terminal` (a person or other input is needed).
The layer that knows chooses the type; orchestration only reads it. Each class carries a stable ``code`` that the
runbook lists.
"""

from __future__ import annotations

from typing import ClassVar


class AlserviceError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message
        One sentence that names the row, file, field or service at fault.
    evidence
        What was seen: JSON-serialisable values, never a secret.
    """

    code: ClassVar[str] = "alservice"
    remedy: ClassVar[str] = "See the runbook entry of this code."

    def __init__(self, message: str, /, **evidence: object) -> None:
        super().__init__(message)
        self.message = message
        self.evidence = evidence

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"


class Retriable(AlserviceError):
    """The same call may succeed later: nothing was lost and nothing is half done."""

    code = "retriable"


class Terminal(AlserviceError):
    """Trying again unchanged cannot help."""

    code = "terminal"


class BadInput(Terminal, ValueError):
    """Input from a person or a file is wrong; the message names the file, row or field."""

    code = "bad-input"


class BadTree(BadInput):
    """A question tree is cyclic, orphaned, ambiguous or unknown."""

    code = "bad-tree"


class BadImage(BadInput):
    """An image cannot be decoded, or is over the limits in bytes or pixels."""

    code = "bad-image"


class BadVotes(BadInput):
    """Vote fractions or counts are NaN, negative, or do not sum as the tree asks."""

    code = "bad-votes"


class BadConfig(BadInput):
    """A campaign or setting does not validate."""

    code = "bad-config"


class NotFound(Terminal, LookupError):
    """A named campaign, catalogue, cycle, model or object does not exist."""

    code = "not-found"


class NoIndex(NotFound):
    """A campaign's catalogue was not prepared for exploring, or none of its models has predicted it."""

    code = "no-index"
    remedy = "Run `alservice explore build --campaign NAME` where the service runs."


class NoMap(NoIndex):
    """A campaign's index has no map: an earlier release built it, or its model has no embeddings."""

    code = "no-map"


class Conflict(Terminal):
    """The request contradicts recorded state, such as a second open cycle or another rehearsal's work directory."""

    code = "conflict"


class LeaseHeld(Conflict):
    """Another process works on the campaign."""

    code = "lease-held"
    remedy = "Wait until it is done: a lease whose holder died runs out after two minutes."


class LeaseLost(Terminal):
    """Another process took the campaign over, for this one was silent too long."""

    code = "lease-lost"


class DeploymentFailed(Terminal):
    """A step that was sent to another work pool did not complete there; its own run says why."""

    code = "deployment-failed"


class DeviceMemoryFull(Retriable):
    """The memory of a GPU, or of the machine, does not suffice for a block of images: another program has its share."""

    code = "device-memory-full"
    remedy = "See who holds it (`nvidia-smi`), or choose a smaller batch of training; what is done is kept."


class NoWorker(Terminal):
    """No worker of another work pool took a step that was sent to it."""

    code = "no-worker"
    remedy = "Start a worker of the pool that the message's run is in, then resume the cycle."


class WorkerLost(Terminal):
    """Every run that a step was sent to went silent: its machine, its worker or the network between is gone."""

    code = "worker-lost"
    remedy = "Look why the runs died (the events step.taken_back say where), then resume the cycle."


class RankLost(Retriable):
    """Of the processes that train one network together another is gone, or this one was told to end."""

    code = "rank-lost"
    remedy = "Run the same command again: it goes on from the last checkpoint, with as many ranks as you like."


class RayUnavailable(Retriable):
    """The Ray cluster that the settings name does not answer, or went away."""

    code = "ray-unavailable"
    remedy = "Start it or correct ALSERVICE_RAY_ADDRESS; unset it to run in one process."


class RayWorkersLost(Terminal):
    """Workers in a Ray cluster died again and again, or none started in time."""

    code = "ray-workers-lost"
    remedy = "Ask Ray why (`ray status`, `ray logs`; often memory), then run the same again: what is done is kept."


class PrefectUnavailable(Retriable):
    """The Prefect server that the environment names does not answer."""

    code = "prefect-unavailable"
    remedy = "Start it with `prefect server start`, or unset PREFECT_API_URL to run without one."


class IllegalTransition(Terminal):
    """A state change that the transition table does not allow."""

    code = "illegal-transition"


class NumericalFault(Terminal, ArithmeticError):
    """A score, loss or probability is non-finite or out of range; it is raised, never clamped."""

    code = "numerical-fault"


class DigestMismatch(Terminal):
    """Stored bytes do not match the digest that names them."""

    code = "digest-mismatch"


class SchemaMismatch(Terminal):
    """The database schema is not the one this release needs."""

    code = "schema-mismatch"
    remedy = "Run `alservice db upgrade`."


class DatabaseUnavailable(Retriable):
    """Postgres cannot be reached or refused the connection."""

    code = "database-unavailable"
    remedy = "Start Postgres or correct ALSERVICE_DATABASE_URL."


class ObjectStoreUnavailable(Retriable):
    """The object store cannot be reached, timed out or answered with a server error."""

    code = "object-store-unavailable"


class ObjectStoreRefused(Terminal):
    """The object store refused the call: credentials, rights, a missing bucket or a malformed request."""

    code = "object-store-refused"
    remedy = "Check ALSERVICE_OBJECT_STORE, its bucket or directory, and the AWS credentials in the environment."


class ImagesUnavailable(Retriable):
    """A server that images are read from fails, answers too slowly, or cannot be reached."""

    code = "images-unavailable"
    remedy = "Look whether the server is up, then run the same command again: an import goes on where it was."


class StorageFull(Terminal, OSError):
    """No space is left where an object or the database writes; free some and resume."""

    code = "storage-full"
    remedy = "Free disk space, then run the same command again: it resumes."


class PortInUse(Terminal, OSError):
    """A port that was asked for is taken."""

    code = "port-in-use"
    remedy = "Choose another port, or 0 for any free one."


class ZooniverseUnavailable(Retriable):
    """Zooniverse timed out, reset the connection or answered 5xx or 429; nothing is known to have changed."""

    code = "zooniverse-unavailable"


class ZooniverseRefused(Terminal):
    """Zooniverse refused the call: credentials, rights, a closed schema or a missing resource."""

    code = "zooniverse-refused"


class OutcomeUnknown(Retriable):
    """A write was sent and no trustworthy answer came: reconcile before it is sent again."""

    code = "outcome-unknown"


class AllowanceExhausted(Terminal):
    """The Zooniverse account may upload no further subjects."""

    code = "allowance-exhausted"


class NotAuthenticated(Terminal):
    """A request shows no token, or one that is unknown, revoked or past its end."""

    code = "not-authenticated"
    remedy = "Make a token with `alservice token create` and send it as `Authorization: Bearer TOKEN`."


class NotAllowed(Terminal):
    """A token is valid and its scope does not reach as far as the request."""

    code = "not-allowed"
    remedy = "Use a token of the scope that the message names."


class KeyReused(Terminal):
    """An idempotency key came again with another request."""

    code = "idempotency-key-reused"
    remedy = "Send a new Idempotency-Key with each new request."


class TooLarge(Terminal):
    """A request's body is longer than the service reads."""

    code = "too-large"


class TooManyRequests(Retriable):
    """A client asked more often than the service answers."""

    code = "too-many-requests"
    remedy = "Wait as many seconds as Retry-After says."


class TooSlow(Retriable):
    """A request did not arrive whole in the time that the service waits for it."""

    code = "too-slow"


class NoRoom(Retriable):
    """The service holds as many connections as it can; health is told all the same."""

    code = "no-room"
    remedy = "Wait as many seconds as Retry-After says."


class AnswerTooSlow(Retriable):
    """A question about the catalogue took longer than the service spends on one."""

    code = "answer-too-slow"
    remedy = "Ask with fewer conditions, or again when the service is less busy."
