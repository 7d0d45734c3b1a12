"""How fast derainers are on the machine at hand: Table 3, and what depends on the machine."""
