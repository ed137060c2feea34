"""Statistics on numbers alone: tests, intervals, distributions and estimates."""
