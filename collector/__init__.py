"""NVML and psutil readings of one host, pushed to the broker."""
