"""Hourly EURUSD: real bars, features, two trained versions, and a bot that trades on them."""
