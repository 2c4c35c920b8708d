"""The prediction log: every prediction of the endpoint, from the server process to ``gold/predictions``."""
