"""What a request costs as there is more of everything: versions, routers, experiments, features.

`python -m benchmarks growth` keeps the results. Each dimension has a cluster of its own, which
takes on its sizes in turn, in rounds that go forwards and backwards.
"""
