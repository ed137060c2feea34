"""`modelctl serve`: starts the server in the foreground on this machine, and ends all of it.

config ──► ports ──► server ──► readiness
                       └──► process_tree
"""
