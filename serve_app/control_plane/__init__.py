"""Which versions are loaded, where traffic goes, and how both change without a lost request."""
