"""Open files of callers."""
