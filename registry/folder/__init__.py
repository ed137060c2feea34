"""The registry on disk: reading, writing, journalling, inspecting and repairing the folder."""
