"""The weekly human-machine loop of a galaxy survey on Zooniverse.

``GalaxyId -> image -> Posterior -> AcquisitionBatch -> SubjectDraft -> Subject -> Classification -> Tally ->
TrainingSet -> Model -> Metrics -> GateDecision -> (champion, next cycle)``: one record type per arrow, one pure
module that makes it, one adapter that touches the world, one service that joins the two.

Imports run one way (checked by import-linter): ``web | cli`` > ``factory`` > ``adapters | services | rehearsal |
settings`` > ``model | ports`` > ``core`` > ``shapes, errors, constants``.
"""

__version__ = "0.1.0"
