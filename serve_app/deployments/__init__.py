"""Thin Ray shells around plain Python; the only part besides serve_app.app that knows Ray."""
