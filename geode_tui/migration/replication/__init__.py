"""Changes of the source while it is moved: captured, kept, applied; cutover; the way back."""
