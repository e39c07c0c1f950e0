"""The PostgreSQL side: values, errors, and the pool that turns one into another."""

from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    PoolError,
    PoolTimeout,
)
from pool.model import Outcome, Statement, Transaction
from pool.pool import Pool, PoolStats

__all__ = [
    "ConnectionFailed",
    "ConnectionLost",
    "DatabaseError",
    "Outcome",
    "Pool",
    "PoolError",
    "PoolStats",
    "PoolTimeout",
    "Statement",
    "Transaction",
]
