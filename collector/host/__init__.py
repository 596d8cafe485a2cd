"""What the kernel reports about the host and its processes."""
