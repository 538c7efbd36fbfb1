"""Training: one loop for pretraining and transfer."""
