"""The filesystem: inodes and names, the control codec, status text, and the pyfuse3 translator."""
