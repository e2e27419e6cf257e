"""From ``emit`` to the attempt and its outcome."""
