"""`modelctl serve`: starts the server in the foreground on this machine, and stops all of it.

config ──► ports ──► server ──► readiness
                       └──► process_tree
"""
