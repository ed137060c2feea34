"""The backends of a version: its replicas, or its model inside the router's process."""
