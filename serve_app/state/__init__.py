"""The serving state and routing rules that both planes share: frozen values and pure functions."""
