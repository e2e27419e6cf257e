"""Small chat server on aiohttp websockets that emits its events with relaybox_hooks."""
