"""Results as files: JSON, tables, one HTML page."""
