"""What runs on NVIDIA GPUs."""
