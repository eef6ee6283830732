"""What the client performs for itself, for nobody else can: see docs/descriptors.md. One queue of it a ring,
and its items."""
