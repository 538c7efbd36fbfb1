"""SigLIP's vision tower."""
