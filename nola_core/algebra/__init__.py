"""What the methods on cached features compute with; one noun a module, all of it on torch tensors on the CPU."""
