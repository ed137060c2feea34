"""Model serving for trading bots on Ray Serve: router, versions, client, command line."""
