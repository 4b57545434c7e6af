"""Is the graph right? The ledger and its checks."""
