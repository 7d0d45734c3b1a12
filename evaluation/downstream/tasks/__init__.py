"""Records, texts and drawings of each task."""
