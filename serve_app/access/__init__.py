"""Access to the server: tokens, roles, callers and the limits on them. No HTTP and no Ray.

control ──► callers, quotas
token_follower ──► token_source ──► token_file, local_token
callers, interfaces, token_file ──► tokens ──► roles
"""
