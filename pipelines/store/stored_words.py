"""Words that stored files keep although the field has others; each beside the field's word."""

BASELINES = "yardsticks"  # measures.json; the field: baselines, the names of what ranked the same queries beside the release
