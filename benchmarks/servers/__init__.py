"""The servers that benchmarks send to, each a process of its own."""
