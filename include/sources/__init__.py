"""Sources: read delivered files and database tables into bronze, and audit them."""
