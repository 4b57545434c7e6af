"""What a mapping could gain, each room one family: with the evidence and the edit that does it."""
