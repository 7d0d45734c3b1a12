"""Training of the derainers: data, losses and MMEngine's Runner. Run from a checkout."""
