"""The front ends. Each translates between one protocol and the core, and makes no decisions."""
