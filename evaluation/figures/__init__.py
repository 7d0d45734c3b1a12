"""Tables and figures about one derainer, as in the paper."""
