"""The pure functions of training, which trainers/ and notebooks call alike."""
