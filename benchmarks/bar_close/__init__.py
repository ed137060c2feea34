"""The close of a bar: many bots predict at the same moment, through ModelClient and without it."""
