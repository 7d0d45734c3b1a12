"""Without rain, with rain, rain removed: what a model scores. Run from a checkout."""
