"""The relational source: connect, introspect, one snapshot, read in chunks. Always READ ONLY."""
