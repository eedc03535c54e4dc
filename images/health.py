"""A health check for images without curl: `health.py URL [COMPONENT]` exits with 0 if the URL answers with success.

COMPONENT is one that Airflow's monitor reports; its status must be healthy then.
"""

import json
import sys
from urllib.request import urlopen

TIMEOUT_S = 4


def healthy(url: str, component: str = "") -> bool:
    """Whether `url` answers with success and, if `component` is given, reports it as healthy."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # the URL is the image's own
            return not component or json.load(answer)[component]["status"] == "healthy"
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(*sys.argv[1:3]) else 1)
