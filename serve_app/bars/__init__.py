"""The bar log as a service: pushes, queries, and what was committed, for the whole cluster."""
