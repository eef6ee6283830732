"""Who a caller is, and how the daemon and its helpers act as it."""
