"""Decoding many samples that share a prefix, and exact fused sampling: operators for PyTorch."""
