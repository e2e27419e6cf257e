"""Lanes: each target's own bounded queue and the workers that empty it."""
