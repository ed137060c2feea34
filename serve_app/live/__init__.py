"""Predictions by symbol: made for every symbol when its bar arrives."""
