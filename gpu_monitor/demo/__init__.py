"""A simulated fleet for `gpu-monitor demo`."""
