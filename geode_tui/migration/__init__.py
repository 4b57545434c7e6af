"""A run: plan, journal, engine, events. Two doors (TUI and command line) drive this one engine."""
