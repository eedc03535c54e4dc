"""Whether a service is well: `health.py URL [COMPONENT]` ends with 0 if it answers, and says that the component is healthy.

Used by health checks in images that have no curl. Airflow's monitor names its components.
"""

import json
import sys
from urllib.request import urlopen

ANSWER_WITHIN_S = 4


def healthy(url: str, component: str = "") -> bool:
    """Whether `url` answers with success, and says of `component`, if one is named, that it is healthy."""
    try:
        with urlopen(url, timeout=ANSWER_WITHIN_S) as answer:  # noqa: S310  # the address is the image's own
            return not component or json.load(answer)[component]["status"] == "healthy"
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(*sys.argv[1:3]) else 1)
