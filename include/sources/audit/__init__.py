"""The audit of sources: what every one holds, and whether it is still what it was, before anything is written."""

from include.sources.audit.audit import audit_sources
from include.sources.errors import SchemaChangeError

__all__ = ["SchemaChangeError", "audit_sources"]
