"""Raw frames and logs in, what is worth telling a language model out."""
