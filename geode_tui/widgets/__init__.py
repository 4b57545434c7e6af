"""Parts that screens are made of; no widget knows a database."""
