"""A tour of attacks on a real service on loopback: ``python -m tests.attack``.

Each attack is a function from a `Target` to findings: what was asked, as whom, what should happen and what did. To add one,
write it in a module here and put it into ``ATTACKS`` of `tests.attack.tour`; to add an endpoint, give its path a door in
`tests.attack.doors`. Nothing here can reach another machine.
"""
