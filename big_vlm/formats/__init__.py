"""Files of arrays: no models here."""
