"""Model families: a folder has the model, its variants, and how other formats name its parameters."""
