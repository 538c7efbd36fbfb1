"""The models, as Flax Linen modules whose parameters are named after big_vision's .npz files."""
