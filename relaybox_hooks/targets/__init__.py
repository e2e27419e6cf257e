"""Targets of events: webhooks, subscribers, their policies and the routing table."""
