"""Networks ready to run: one port, two engines. Torch tensors in, torch tensors out."""
