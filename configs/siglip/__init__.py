"""SigLIP: pretraining, a text tower for a frozen image tower, fine-tuning on pairs of one's own."""
