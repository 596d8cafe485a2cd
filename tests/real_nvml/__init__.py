"""NVIDIA's own NVML, nvidia-smi and nvml.h, which need no GPU for what is tested here.

`python -m tests.real_nvml` fetches them into build/nvidia, which tools/setup does. NVIDIA's licence
applies to them: they are unpacked there, never installed, committed or shipped.
"""
