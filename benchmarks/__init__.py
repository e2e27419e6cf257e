"""Benchmarks: each file answers one question. ``python -m benchmarks`` runs them, and
``python -m benchmarks.compare`` compares two checkouts."""
