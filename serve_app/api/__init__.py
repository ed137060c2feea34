"""Front ends: each folder translates one protocol and decides nothing."""
