"""The registry on disk: reading, changing, inspecting and repairing the folder."""
