"""What happens at its own time: timers, readiness, the ends of children;
and the order in which tasks hear of it."""
