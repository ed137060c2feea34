"""EURUSD by the hour: real bars, features, two trained versions and a bot that asks for them."""
