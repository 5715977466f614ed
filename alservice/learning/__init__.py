"""Learning: snapshot, training, evaluation, drift, bias and the gate."""
