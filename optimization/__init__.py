"""From a trained network to a fast, proven file: export and the proof that both give the same."""
