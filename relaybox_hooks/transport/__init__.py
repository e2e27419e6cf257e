"""From an encoded event to an outcome: one HTTP request and its response."""
