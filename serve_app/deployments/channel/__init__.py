"""The TCP channel between routers and replicas: protocol, client and server."""
