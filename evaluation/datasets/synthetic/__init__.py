"""The built-in benchmark: drawn scenes and models for them."""
