"""Driver errors leave the adapter as typed errors, and secrets do not leave it at all."""

import signal
import socket
import traceback
from types import FrameType

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from alservice.errors import BadConfig, BadInput, Conflict, DatabaseUnavailable, Retriable, StorageFull
from alservice.storage.postgres import make_engine, transaction

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(
    "url", ["", "secret-password", "mysql://u:secret@h/d", "postgresql+asyncpg://h/d", "postgresql://u@h:secret/d"]
)
def test_only_postgres_urls_are_accepted(url: str) -> None:
    """Another database or an unreadable URL is refused, without repeating what may be a password."""
    with pytest.raises(BadConfig) as refusal:
        make_engine(url)
    assert "secret" not in str(refusal.value)


def test_unreachable_server_is_retriable_and_keeps_the_password() -> None:
    """The error names host and database, never the password."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused at once
        port = taken.getsockname()[1]
        engine = make_engine(f"postgresql://me:secret-password@127.0.0.1:{port}/votes")
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1, database votes") as failure, transaction(engine):
            pass
    assert isinstance(failure.value, Retriable)
    told = [str(error) for error in (failure.value, failure.value.__cause__)]
    assert not any("secret" in line for line in told)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", StorageFull),
        ("53300", DatabaseUnavailable),  # too many connections
        ("40P01", DatabaseUnavailable),  # deadlock
        ("57P01", DatabaseUnavailable),  # shut down by a person
        ("23505", Conflict),
        ("22P05", BadInput),  # a character that cannot be stored
    ],
)
def test_states_of_postgres_become_typed_errors(engine: Engine, state: str, error: type[Exception]) -> None:
    """What Postgres says decides the type, and is part of the message."""
    with pytest.raises(error, match="said so"), transaction(engine) as connection:
        connection.execute(text(RAISE.format(state)))


class ToldToStop(BaseException):
    """What a signal's handler raises."""


def test_a_signal_is_not_lost_in_a_statement_that_gives_notice(engine: Engine) -> None:
    """What a handler raises ends the statement: the driver clears it where the server's notice is being decoded."""

    def end(told: int, frame: FrameType | None) -> None:
        raise ToldToStop

    def meet_the_signal() -> None:
        with transaction(engine) as connection:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            connection.execute(text("DO $$ BEGIN PERFORM pg_sleep(0.5); RAISE WARNING 'done'; END $$"))

    before = signal.signal(signal.SIGALRM, end)
    try:
        with pytest.raises(ToldToStop):
            meet_the_signal()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_our_own_mistakes_stay_visible(engine: Engine) -> None:
    """Wrong SQL is a bug, not a condition to handle."""
    with pytest.raises(ProgrammingError), transaction(engine) as connection:
        connection.execute(text("SELECT * FROM no_such_table"))


def test_a_broken_constraint_is_named(engine: Engine) -> None:
    """Who handles a conflict can tell which rule was broken."""
    twice = text("INSERT INTO campaigns (name) VALUES ('a'), ('a')")
    with pytest.raises(Conflict) as refusal, transaction(engine) as connection:
        connection.execute(twice)
    assert refusal.value.evidence["constraint"] == "uq_campaigns_name"


def test_values_of_a_failed_statement_are_not_told(engine: Engine) -> None:
    """A statement's parameters, which can be a volunteer's, are not in the traceback."""
    with pytest.raises(BadInput, match="division by zero") as refusal, transaction(engine) as connection:
        connection.execute(text("SELECT CAST(:name AS text), 1 / 0"), {"name": "secret"})
    assert "secret" not in "".join(traceback.format_exception(refusal.value, limit=0))


def test_a_connection_lost_in_use_is_typed(engine: Engine) -> None:
    """A server that drops us in a transaction is unavailable; the next transaction works."""
    with pytest.raises(DatabaseUnavailable), transaction(engine) as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_connection_lost_at_rest_is_replaced(engine: Engine, database_url: str) -> None:
    """A server that was restarted between two transactions is not noticed."""
    with transaction(engine) as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
    other = make_engine(database_url)
    with transaction(other) as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    other.dispose()
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != pid


def test_an_error_in_a_transaction_leaves_nothing(engine: Engine) -> None:
    """Work of a transaction that fails on our side is rolled back."""

    def fail() -> None:
        with transaction(engine) as connection:
            connection.execute(text("INSERT INTO campaigns (name) VALUES ('lost')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM campaigns")) == 0
