"""The tests of geode-tui."""
