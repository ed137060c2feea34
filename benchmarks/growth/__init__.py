"""The cost of a request as the number of versions, routers, experiments and features grows.

`python -m benchmarks growth` keeps the results. Each dimension has its own cluster, which
is brought to its sizes in rounds that run alternately forwards and backwards.
"""
