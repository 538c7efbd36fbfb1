"""A model behind HTTP: protocol.py reads requests, engine.py decodes them, app.py routes."""
