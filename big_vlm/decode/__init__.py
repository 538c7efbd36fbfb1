"""Decoding: prompts in, tokens with log-probabilities and a finish reason out."""
