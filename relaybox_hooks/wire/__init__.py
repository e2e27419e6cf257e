"""Encoding, signing and parsing of RelayBox webhook requests; no I/O, shared by both sides."""
