"""Programs under a seccomp filter whose listener is the daemon's."""
