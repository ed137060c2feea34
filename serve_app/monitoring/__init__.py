"""What the running system measures of itself: pure definitions, without Ray."""
