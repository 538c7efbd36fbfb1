"""Files of other frameworks, read and written tensor by tensor; no models."""
