"""The REST front end under /api/ml: decode a request, call the core, encode the response."""
