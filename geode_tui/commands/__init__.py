"""The verbs of the command line, one file a verb family; each is the twin of a screen."""
