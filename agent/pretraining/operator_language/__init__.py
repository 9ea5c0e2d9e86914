"""Training of the model that turns operators' words into tool calls: phrasings, examples, recipe."""
