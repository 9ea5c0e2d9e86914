"""Language models that write cell plans: a local causal LM under a grammar, or an OpenAI-compatible endpoint."""
