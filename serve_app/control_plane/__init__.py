"""Decides what is loaded, where traffic goes and which experiments run. No Ray."""
