"""Tables and figures about one derainer, as in the paper.

What the studies take is the same in all of them:

- `network`: the derainer; `deveil`, of the same device, where a study deveils.
- `photographs`: loaders of clean photographs by name, loaded one by one. A photograph that cannot
  be used raises `UserError`.
- `preset` and `seed`: of the rain, which also depends on the name of the photograph.

They return a table of means over the photographs and, most of them, a contact sheet.
"""
