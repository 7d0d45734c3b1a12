"""Paired comparison of derainers by people (Sec. 6, Table 14)."""
