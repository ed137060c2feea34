"""Durable storage below the experiments and the bar log: a SQL database, its file and its disk.

The package knows neither of them: a `Profile` states what differs, such as the errors to raise.
"""
