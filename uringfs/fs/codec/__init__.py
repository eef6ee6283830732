"""What stands in writes to a ring file: binary messages, and text."""
