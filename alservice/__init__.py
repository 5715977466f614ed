"""The weekly human-machine loop of a galaxy survey on Zooniverse.

``GalaxyId -> image -> Posterior -> AcquisitionBatch -> SubjectDraft -> Subject -> Classification -> Tally ->
TrainingSet -> Model -> Metrics -> GateDecision -> (champion, next cycle)``: one record type per arrow, one pure
module that makes it, one store or client that touches the world, one service that joins the two. A stage of the loop is
a package, which owns its records, rules, tables, store and service.

Imports run down one list, checked by import-linter (``pyproject.toml``): ``cli``, ``web``, ``app``, what runs the loop
whole or on files, the stages from ``learning`` to ``campaigns``, ``zooniverse``, ``network``, ``storage``, ``science``.
"""

__version__ = "0.1.0"
