"""Split federated LoRA: text and tensors, nothing of networks."""
