"""Feature views: computed as of moments, materialized by Feast, and read online without it."""
