"""Starts the whole server on this machine in the foreground, and ends all of it: `modelctl serve`.

config ──► ports ──► server ──► readiness
                       └──► process_tree
"""
