"""What a chat agent may do: typed tools over a control room, each with figures and a text made of them."""
