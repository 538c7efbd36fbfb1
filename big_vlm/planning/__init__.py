"""What a run will cost before it starts: bytes, seconds, and where they go."""
