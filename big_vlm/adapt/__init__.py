"""Models changed at the einsum hook: low-rank adapters and quantized weights wrap weights."""
