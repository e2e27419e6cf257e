"""Deliveries that a journal keeps: what is read ahead, parked, logged and retained."""
