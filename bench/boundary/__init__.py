"""The boundary's proof: a model that obeys every order it reads, over the shop, end to end through the real turn."""
