"""A/B tests of model versions: assignment, summaries, statistics and the verdict.

Everything here is pure: values in, values out, the time is an argument. Storage lies beside it.
"""
