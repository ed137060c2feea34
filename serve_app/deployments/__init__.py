"""Ray Serve deployments and actors: thin shells around plain Python.

Only this package, `serve_app.app` and `serve_app.launch` import Ray.
"""
