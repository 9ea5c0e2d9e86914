"""Training of the embedded policy model: tokenizer, examples, training loop."""
