"""Models changed at the seam: low-rank adapters and quantized weights stand in for weights."""
