"""Sources of examples, their mixture and the loader: numpy only, random access, no hidden state."""
