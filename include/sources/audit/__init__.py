"""The audit of sources: data profile and schema drift of every source, before anything is loaded."""

from include.sources.audit.audit import audit_sources
from include.sources.errors import SchemaChangeError

__all__ = ["SchemaChangeError", "audit_sources"]
