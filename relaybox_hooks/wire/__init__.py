"""The bytes of the RelayBox webhook protocol. No I/O: senders and receivers share it."""
