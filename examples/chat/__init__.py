"""A small chat server on aiohttp websockets that tells relaybox_hooks what happens in it."""
