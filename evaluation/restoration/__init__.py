"""How near derained images come to clean ones."""
