"""Metrics and traces: observers that each need an extra, and cost nothing where not imported."""
