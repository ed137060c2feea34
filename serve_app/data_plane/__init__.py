"""The data plane: one request, from checked values to a response, independent of any protocol."""
