"""Backup and restore of everything that a server keeps, in one file."""
