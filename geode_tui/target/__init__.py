"""The graph: one protocol, and the graphs that speak it."""
