"""What an event can be sent to: webhooks, local subscribers, and the way from a name to them."""
