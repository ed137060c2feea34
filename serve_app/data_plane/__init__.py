"""One request, from checked values to a prediction, independent of any protocol."""
