"""Observers for logs, metrics and traces; metrics and traces each need an extra."""
