"""The settings that the response cache goes by, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.cache_rules.policy import PolicyRow


@dataclass(frozen=True, slots=True)
class ResponseCacheRules:
    """Sizes in bytes. `rows`: the policies of the configuration. `max_bytes` and
    `max_entry_bytes`: of all that is kept, and of one answer. `pre_request_is_safe`: the
    pre-request function neither changes answers nor has to see every request.
    `compress_from`: the smallest content that is compressed; 0 for none."""

    rows: tuple[PolicyRow, ...] = ()
    max_bytes: int = 64 * 1024 * 1024
    max_entry_bytes: int = 4 * 1024 * 1024
    pre_request_is_safe: bool = False
    compress_from: int = 1024
