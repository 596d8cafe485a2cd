"""First contact with a real NVIDIA card: measures what GPU Monitor assumes about driver and GPU."""
