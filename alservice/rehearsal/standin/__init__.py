"""A local Zooniverse: the part of Panoptes' API this project meets, on loopback, with state on disk.

It answers as Panoptes does where Panoptes is awkward, because that is what has to be survived: no
idempotency, empty bodies for refused tokens, counters and retirements that lag, a cursor that repeats at
digit boundaries, exports that never become ready. A call it does not model is answered with 501 and logged
as an error.

Fault hooks, for this machine only::

    POST   /standin/faults   [rule, ..]         puts rules in force, after those already there
    GET    /standin/faults                      the rules with ``met`` (matching calls) and ``hits`` (faults)
    DELETE /standin/faults                      drops all rules and lets go of the calls they hold
    GET    /standin/state                       counts of rows and files
    GET    /standin/clock                       the stand-in's present
    POST   /standin/clock    {"advance_s": 60}  moves it forward for good: tokens, signed URLs, throttles

A rule is an object:

===============  ==========================================================================================
``path``         regular expression, searched in the request target (path and query)
``method``       only this method; any when left out
``kind``         ``status`` answers `status` in place of the real answer; ``reset`` breaks the connection
                 with a RST; ``close`` ends it without an answer; ``hang`` holds the call for `seconds`, or
                 until the rules are dropped, and then closes; ``latency`` delays it by `seconds`
``status``       400 to 599, for kind ``status``
``when``         ``before`` (default): the server has not acted; ``after``: it has committed
``body``         of a ``status``: ``json`` (default), ``html`` or ``empty``
``seconds``      for ``latency`` and ``hang``
``skip``         leave this many matching calls alone first (default 0)
``count``        strike at most this often; without it, always
``probability``  strike with this probability, drawn from a generator of its own with ``seed``, which it needs
===============  ==========================================================================================

For each call the rules are tried in order: every latency that strikes adds up, and the first other rule
that strikes decides. A link call reads its set's lock version before any latency, so two link calls on one
set that overlap within such a delay show Panoptes' 409.
"""

from alservice.rehearsal.standin.config import StandinConfig, generate_credentials
from alservice.rehearsal.standin.server import Standin, known_logins

__all__ = ["Standin", "StandinConfig", "generate_credentials", "known_logins"]
