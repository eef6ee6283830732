"""The pyfuse3 side: a mount's life, and the translation of FUSE's requests."""
