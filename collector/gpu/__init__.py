"""What NVML, the PCI bus and the driver report about GPUs."""
