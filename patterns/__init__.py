"""Pipeline patterns over zq. This package sees only the names that `zq` exports."""
