"""Every answer of the endpoint, from the server that gave it to the lake."""
